variable "cluster_name" {
  description = "Name of the cluster."
  type        = string
}

variable "subnet_ids" {
  description = "Ids of the private subnets in zones that have this GPU."
  type        = set(string)
}

variable "accelerator" {
  description = "The GPU: l4 (24 GB), a100 (40 GB), h100 (80 GB). It is the value of the label jobtuner.dev/accelerator."
  type        = string

  validation {
    condition     = contains(["l4", "a100", "h100"], var.accelerator)
    error_message = "accelerator is '${var.accelerator}'; accepted are l4, a100, h100."
  }
}

variable "gpus_per_node" {
  description = "GPUs of one node: l4 has 1, 4, 8; a100 has 8; h100 has 1, 8."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 4, 8], var.gpus_per_node)
    error_message = "gpus_per_node is ${var.gpus_per_node}; accepted are 1, 4, 8."
  }
}

variable "capacity" {
  description = "How nodes are bought; each is a pool of its own: on_demand, spot."
  type        = set(string)
  default     = ["on_demand", "spot"]

  validation {
    condition     = length(var.capacity) > 0 && length(setsubtract(var.capacity, ["on_demand", "spot"])) == 0
    error_message = "capacity is [${join(", ", var.capacity)}]; accepted are one or both of on_demand, spot."
  }
}

variable "max_nodes" {
  description = "Greatest number of nodes of each pool: the limit of what a mistake can cost. The least is always 0."
  type        = number

  validation {
    condition     = var.max_nodes >= 1 && floor(var.max_nodes) == var.max_nodes
    error_message = "max_nodes is ${var.max_nodes}; accepted are whole numbers from 1."
  }
}

variable "disk_size_gb" {
  description = "Size of the boot disk in GB."
  type        = number
  default     = 100

  validation {
    condition     = var.disk_size_gb >= 50
    error_message = "disk_size_gb is ${var.disk_size_gb}; accepted are numbers from 50: the system and one training image fill some 30 GB."
  }
}

variable "disk_key" {
  description = "ARN of the KMS key of the boot disk."
  type        = string
}

variable "node_role_arn" {
  description = "ARN of the role that nodes run as."
  type        = string
}
