variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "cluster_name" {
  description = "Name of the cluster."
  type        = string
}

variable "location" {
  description = "Region of the cluster."
  type        = string
}

variable "zones" {
  description = "Zones of the nodes; empty: those of the cluster."
  type        = set(string)
  default     = []
}

variable "pool" {
  description = "What the nodes are for: the value of the label jobtuner.dev/pool."
  type        = string

  validation {
    condition     = contains(["system", "work"], var.pool)
    error_message = "pool is '${var.pool}'; accepted are system, work. GPU nodes come from the module gpu_pool."
  }
}

variable "machine_type" {
  description = "Machine type; e2-standard-4 has 4 vCPU and 16 GiB."
  type        = string
  default     = "e2-standard-4"
}

variable "spot" {
  description = "Whether nodes are Spot VMs: a fraction of the price, gone at 30 seconds' notice, and tainted so that only pods that can bear it run there."
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
  description = "Id of the KMS key of the boot disk; null: Google's own key."
  type        = string
  default     = null
}

variable "node_service_account" {
  description = "E-mail of the service account that nodes run as."
  type        = string
}

variable "labels" {
  description = "Labels of the machines in the bill."
  type        = map(string)
  default     = { app = "jobtuner" }
}
