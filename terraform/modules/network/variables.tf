variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the subnet, such as europe-west4."
  type        = string
}

variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "node_range" {
  description = "Addresses of nodes, as CIDR. A /22 has 1,020 usable addresses: one a node."
  type        = string
  default     = "10.0.0.0/22"

  validation {
    condition     = can(cidrnetmask(var.node_range))
    error_message = "node_range is '${var.node_range}'; accepted is an IPv4 range such as 10.0.0.0/22."
  }
}

variable "pod_range" {
  description = "Addresses of pods, as CIDR. GKE gives each node a /24 for up to 110 pods, so a /16 carries 256 nodes."
  type        = string
  default     = "10.4.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.pod_range))
    error_message = "pod_range is '${var.pod_range}'; accepted is an IPv4 range such as 10.4.0.0/16."
  }
}

variable "service_range" {
  description = "Addresses of Kubernetes services, as CIDR. A /20 has room for 4,096."
  type        = string
  default     = "10.8.0.0/20"

  validation {
    condition     = can(cidrnetmask(var.service_range))
    error_message = "service_range is '${var.service_range}'; accepted is an IPv4 range such as 10.8.0.0/20."
  }
}

variable "flow_log_sampling" {
  description = "Share of flows that are logged. Logs cost by volume: one in ten shows who talks to whom, 1 is for an investigation."
  type        = number
  default     = 0.1

  validation {
    condition     = var.flow_log_sampling > 0 && var.flow_log_sampling <= 1
    error_message = "flow_log_sampling is ${var.flow_log_sampling}; accepted are numbers above 0 and up to 1."
  }
}

variable "private_services" {
  description = "Whether Google's managed services (Cloud SQL) get addresses in this network."
  type        = bool
  default     = false
}
