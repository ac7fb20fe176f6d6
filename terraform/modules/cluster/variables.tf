variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the cluster, such as europe-west4."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is '${var.region}'; accepted is a region such as europe-west4. A zone (europe-west4-a) would make a cluster with a single control plane."
  }
}

variable "zones" {
  description = "Zones of the region in which nodes run; empty: Google chooses three. Pools may name others."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, "${var.region}-")])
    error_message = "zones are ${join(", ", var.zones)}; accepted are zones of the region ${var.region}, such as ${var.region}-a."
  }
}

variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "network_id" {
  description = "Id of the network."
  type        = string
}

variable "subnetwork_id" {
  description = "Id of the nodes' subnet."
  type        = string
}

variable "range_names" {
  description = "Names of the subnet's secondary ranges."
  type        = object({ pods = string, services = string })
}

variable "secrets_key" {
  description = "Id of the KMS key that encrypts Kubernetes Secrets."
  type        = string
}

variable "authorized_networks" {
  description = "Who may reach the control plane's address, by name: CIDR. Empty (default): the address is private. The DNS endpoint is apart from it."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for range in var.authorized_networks : can(cidrnetmask(range)) && range != "0.0.0.0/0"])
    error_message = "authorized_networks has ${join(", ", values(var.authorized_networks))}; accepted are IPv4 ranges such as 203.0.113.0/24, and never 0.0.0.0/0."
  }
}

variable "dns_endpoint" {
  description = "Whether the control plane can be reached by its DNS name from outside the network; IAM checks each call. Off: a machine inside the network is needed."
  type        = bool
  default     = true
}

variable "security_group" {
  description = "Google Group whose nested groups RBAC may name: gke-security-groups@your-domain. Null: RBAC names persons."
  type        = string
  default     = null

  validation {
    condition     = var.security_group == null || can(regex("^gke-security-groups@.+$", var.security_group))
    error_message = "security_group is '${coalesce(var.security_group, "null")}'; GKE accepts gke-security-groups@your-domain only."
  }
}

variable "release_channel" {
  description = "How soon upgrades come."
  type        = string
  default     = "REGULAR"

  validation {
    condition     = contains(["RAPID", "REGULAR", "STABLE", "EXTENDED"], var.release_channel)
    error_message = "release_channel is '${var.release_channel}'; accepted are RAPID, REGULAR, STABLE, EXTENDED."
  }
}

variable "maintenance_window" {
  description = "When Google may upgrade: first window (RFC 3339) and its repetition (RFC 5545). GKE wants at least 48 hours in 32 days; the default is Saturday and Sunday, 01:00 to 07:00 UTC: 2 × 6 h × 4 weeks = 48 h."
  type        = object({ start = string, end = string, recurrence = string })
  default = {
    start      = "2026-01-03T01:00:00Z"
    end        = "2026-01-03T07:00:00Z"
    recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
  }

  validation {
    condition     = can(timecmp(var.maintenance_window.start, var.maintenance_window.end)) && try(timecmp(var.maintenance_window.start, var.maintenance_window.end), 0) < 0
    error_message = "maintenance_window is ${var.maintenance_window.start} to ${var.maintenance_window.end}; accepted are two times such as 2026-01-03T01:00:00Z, the start before the end."
  }
}

variable "maintenance_exclusions" {
  description = "Times in which Google must not upgrade, by name: start and end (RFC 3339) and what is held back. For a long training run or a busy season."
  type = map(object({
    start = string
    end   = string
    scope = optional(string, "NO_MINOR_OR_NODE_UPGRADES")
  }))
  default = {}

  validation {
    condition     = alltrue([for item in var.maintenance_exclusions : contains(["NO_UPGRADES", "NO_MINOR_UPGRADES", "NO_MINOR_OR_NODE_UPGRADES"], item.scope)])
    error_message = "maintenance_exclusions has the scopes ${join(", ", [for item in var.maintenance_exclusions : item.scope])}; accepted are NO_UPGRADES, NO_MINOR_UPGRADES, NO_MINOR_OR_NODE_UPGRADES."
  }
}

variable "managed_prometheus" {
  description = "Whether Google collects the pods' metrics (charged by the sample). Off: the Prometheus of manifests/ does."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` refuses to delete the cluster."
  type        = bool
  default     = true
}

variable "labels" {
  description = "Labels of every resource that takes them."
  type        = map(string)
  default     = { app = "jobtuner" }
}
