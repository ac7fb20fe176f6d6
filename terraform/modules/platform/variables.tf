variable "project_id" {
  description = "Google Cloud project; it exists and has a billing account."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is '${var.project_id}'; accepted are 6 to 30 lower-case letters, digits and dashes, a letter first (the id, not the number)."
  }
}

variable "region" {
  description = "Region of everything, such as europe-west4 (which has L4, A100 and H100)."
  type        = string
}

variable "zones" {
  description = "Zones of the nodes; empty: Google chooses three. Fewer zones cost less traffic, more zones survive more."
  type        = set(string)
  default     = []
}

variable "prefix" {
  description = "First part of every name, such as jobtuner-dev: 3 to 21 characters."
  type        = string
}

variable "bucket_prefix" {
  description = "First part of the buckets' names, which are unique in all of Google Cloud. Null: <project>-<prefix>."
  type        = string
  default     = null
}

variable "node_pools" {
  description = "CPU pools, by any name: what for (system, work), machine type, Spot, limits in nodes."
  type = map(object({
    pool         = string
    machine_type = optional(string, "e2-standard-4")
    spot         = optional(bool, false)
    min_nodes    = optional(number, 0)
    max_nodes    = optional(number, 3)
  }))

  validation {
    condition     = anytrue([for pool in var.node_pools : pool.pool == "system" && !pool.spot && pool.min_nodes >= 1])
    error_message = "node_pools has no pool with pool = \"system\", spot = false and min_nodes of 1 or more; the cluster's own pods need one."
  }
}

variable "gpu_pools" {
  description = "GPU pools, by any name: GPU (l4, a100, h100), GPUs a node, how they are bought (on_demand, spot, flex_start, queued), the greatest number of nodes, zones."
  type = map(object({
    accelerator   = string
    gpus_per_node = optional(number, 1)
    capacity      = optional(set(string), ["on_demand", "spot"])
    max_nodes     = number
    zones         = optional(set(string), [])
  }))
  default = {}
}

variable "authorized_networks" {
  description = "Who may reach the control plane's address, by name: CIDR. Empty: nobody outside; the DNS endpoint, guarded by IAM, remains."
  type        = map(string)
  default     = {}
}

variable "dns_endpoint" {
  description = "Whether the control plane's DNS name answers from outside the network; IAM checks each call."
  type        = bool
  default     = true
}

variable "security_group" {
  description = "Google Group for RBAC: gke-security-groups@your-domain; null: none."
  type        = string
  default     = null
}

variable "release_channel" {
  description = "How soon upgrades come: RAPID, REGULAR, STABLE, EXTENDED."
  type        = string
  default     = "REGULAR"
}

variable "maintenance_exclusions" {
  description = "Times without upgrades, by name (module cluster)."
  type        = map(object({ start = string, end = string, scope = optional(string, "NO_MINOR_OR_NODE_UPGRADES") }))
  default     = {}
}

variable "managed_prometheus" {
  description = "Whether Google collects the pods' metrics. Off: the Prometheus of manifests/ does."
  type        = bool
  default     = false
}

variable "hmac_components" {
  description = "Components that get an HMAC key for S3-compatible access: pipeline, deployer, mlflow, gateway, serving. The secret lies in the state."
  type        = set(string)
  default     = []
}

variable "models_retention_days" {
  description = "Days for which deleted models can be brought back: 0, or 7 to 90."
  type        = number
  default     = 7
}

variable "image_writers" {
  description = "IAM members that may push images."
  type        = set(string)
  default     = []
}

variable "database" {
  description = "Cloud SQL for MLflow; null: the PostgreSQL of manifests/ is used."
  type = object({
    tier              = optional(string, "db-custom-1-3840")
    high_availability = optional(bool, false)
  })
  default = null
}

variable "budget" {
  description = "Monthly budget whose alerts go to the billing account's administrators and to emails; null: none."
  type = object({
    billing_account = string
    monthly_amount  = number
    currency        = optional(string, "USD")
    emails          = optional(set(string), [])
  })
  default = null
}

variable "protected" {
  description = "Whether `terraform destroy` refuses to delete cluster, database and filled buckets. Turn it off and apply before a destroy."
  type        = bool
  default     = true
}

variable "labels" {
  description = "More labels of every resource that takes them."
  type        = map(string)
  default     = {}
}
