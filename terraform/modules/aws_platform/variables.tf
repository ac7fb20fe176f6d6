variable "region" {
  description = "AWS region of everything, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z-]+-[0-9]$", var.region))
    error_message = "region is '${var.region}'; accepted is a region such as eu-central-1 (not a zone such as eu-central-1a)."
  }
}

variable "zones" {
  description = "Availability zones: 2 or 3."
  type        = list(string)
}

variable "prefix" {
  description = "First part of every name, such as jobtuner-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}[a-z0-9]$", var.prefix))
    error_message = "prefix is '${var.prefix}'; accepted are 3 to 21 lower-case letters, digits and dashes, a letter first."
  }
}

variable "bucket_prefix" {
  description = "First part of the buckets' names, which are unique in all of AWS. Null: <prefix>-<account>."
  type        = string
  default     = null
}

variable "kubernetes_version" {
  description = "Kubernetes version, as <major>.<minor>."
  type        = string
  default     = "1.34"
}

variable "node_pools" {
  description = "CPU pools, by any name: what for (system, work), instance types, Spot, limits in nodes."
  type = map(object({
    pool           = string
    instance_types = optional(list(string), ["m7i.xlarge", "m6i.xlarge"])
    spot           = optional(bool, false)
    min_nodes      = optional(number, 0)
    max_nodes      = optional(number, 3)
  }))

  validation {
    condition     = anytrue([for pool in var.node_pools : pool.pool == "system" && !pool.spot && pool.min_nodes >= 1])
    error_message = "node_pools has no pool with pool = \"system\", spot = false and min_nodes of 1 or more; the autoscaler itself needs one."
  }
}

variable "gpu_pools" {
  description = "GPU pools, by any name: GPU (l4, a100, h100), GPUs a node, how they are bought (on_demand, spot), the greatest number of nodes, zones."
  type = map(object({
    accelerator   = string
    gpus_per_node = optional(number, 1)
    capacity      = optional(set(string), ["on_demand", "spot"])
    max_nodes     = number
    zones         = optional(set(string), [])
  }))
  default = {}

  validation {
    condition     = alltrue([for pool in var.gpu_pools : length(setsubtract(pool.zones, var.zones)) == 0])
    error_message = "gpu_pools names zones that the network does not have; accepted are ${join(", ", var.zones)}."
  }
}

variable "authorized_networks" {
  description = "Who may reach the control plane from outside, as CIDR; `terraform apply` must, for the add-ons' charts, unless it runs in the network."
  type        = set(string)
  default     = []
}

variable "admins" {
  description = "ARNs of IAM roles or users that administer the cluster, by any name."
  type        = map(string)
  default     = {}
}

variable "nat_per_zone" {
  description = "Whether each zone has a NAT gateway of its own."
  type        = bool
  default     = false
}

variable "images" {
  description = "Names of the images that are pushed; each gets a repository."
  type        = set(string)
  default     = ["python-cpu", "python-train"]
}

variable "models_retention_days" {
  description = "Days for which a model's version cannot be deleted; 0: none."
  type        = number
  default     = 0
}

variable "budget" {
  description = "Monthly budget of the account in US dollars, and who is told; null: none."
  type        = object({ monthly_amount = number, emails = set(string) })
  default     = null
}

variable "protected" {
  description = "Whether `terraform destroy` refuses to delete the cluster, filled buckets and filled repositories. Turn it off and apply before a destroy."
  type        = bool
  default     = true
}
