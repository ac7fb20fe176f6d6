variable "cluster_name" {
  description = "Name of the cluster."
  type        = string
}

variable "subnet_ids" {
  description = "Ids of the private subnets."
  type        = set(string)
}

variable "pool" {
  description = "What the nodes are for: the value of the label jobtuner.dev/pool."
  type        = string

  validation {
    condition     = contains(["system", "work"], var.pool)
    error_message = "pool is '${var.pool}'; accepted are system, work. GPU nodes come from the module aws_gpu_pool."
  }
}

variable "instance_types" {
  description = "Instance types of equal size; m7i.xlarge has 4 vCPU and 16 GiB. More types find Spot capacity more often."
  type        = list(string)
  default     = ["m7i.xlarge", "m6i.xlarge"]
}

variable "spot" {
  description = "Whether nodes are Spot instances: a fraction of the price, gone two minutes after a notice, and tainted so that only pods that can bear it run there."
  type        = bool
  default     = false
}

variable "min_nodes" {
  description = "Least number of nodes, in all zones together."
  type        = number
  default     = 0

  validation {
    condition     = var.min_nodes >= 0 && floor(var.min_nodes) == var.min_nodes
    error_message = "min_nodes is ${var.min_nodes}; accepted are whole numbers from 0."
  }
}

variable "max_nodes" {
  description = "Greatest number of nodes, in all zones together."
  type        = number
  default     = 3

  validation {
    condition     = var.max_nodes >= 1 && floor(var.max_nodes) == var.max_nodes
    error_message = "max_nodes is ${var.max_nodes}; accepted are whole numbers from 1."
  }
}

variable "disk_size_gb" {
  description = "Size of the boot disk in GB; images and emptyDir volumes live there."
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
