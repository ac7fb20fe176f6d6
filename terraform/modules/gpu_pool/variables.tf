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
  description = "Zones that have this GPU (`gcloud compute accelerator-types list`); empty: those of the cluster."
  type        = set(string)
  default     = []
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
  description = "GPUs of one node."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 4, 8], var.gpus_per_node)
    error_message = "gpus_per_node is ${var.gpus_per_node}; accepted are 1, 2, 4, 8."
  }
}

variable "capacity" {
  description = "How nodes are bought; each is a pool of its own: on_demand, spot, flex_start, queued."
  type        = set(string)
  default     = ["on_demand", "spot"]

  validation {
    condition     = length(var.capacity) > 0 && length(setsubtract(var.capacity, ["on_demand", "spot", "flex_start", "queued"])) == 0
    error_message = "capacity is [${join(", ", var.capacity)}]; accepted are one or more of on_demand, spot, flex_start, queued."
  }
}

variable "max_nodes" {
  description = "Greatest number of nodes of each pool, in all zones together: the limit of what a mistake can cost. The least is always 0."
  type        = number

  validation {
    condition     = var.max_nodes >= 1 && floor(var.max_nodes) == var.max_nodes
    error_message = "max_nodes is ${var.max_nodes}; accepted are whole numbers from 1."
  }
}

variable "flex_max_hours" {
  description = "Hours after which Google takes a flex_start or queued node away; a run must resume from its checkpoint on the next one."
  type        = number
  default     = 24

  validation {
    condition     = var.flex_max_hours >= 1 && var.flex_max_hours <= 168
    error_message = "flex_max_hours is ${var.flex_max_hours}; accepted are 1 to 168 (seven days)."
  }
}

variable "driver_version" {
  description = "NVIDIA driver that GKE installs: the GKE version's DEFAULT, or its LATEST, which current CUDA images want."
  type        = string
  default     = "LATEST"

  validation {
    condition     = contains(["DEFAULT", "LATEST"], var.driver_version)
    error_message = "driver_version is '${var.driver_version}'; accepted are DEFAULT, LATEST. INSTALLATION_DISABLED would need a DaemonSet that this project does not have."
  }
}

variable "local_ssd" {
  description = "Whether emptyDir volumes and images lie on local SSD. h100 nodes always have it."
  type        = bool
  default     = true
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
