variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string
}

variable "zones" {
  description = "Availability zones of the subnets: 2 or 3 (EKS wants at least two)."
  type        = list(string)

  validation {
    condition     = contains([2, 3], length(distinct(var.zones))) && alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "zones are [${join(", ", var.zones)}]; accepted are 2 or 3 different zones of ${var.region}, such as ${var.region}a."
  }
}

variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "range" {
  description = "Addresses of the network, as CIDR with 16 bits."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.range)) && endswith(var.range, "/16")
    error_message = "range is '${var.range}'; accepted is an IPv4 range of 16 bits, such as 10.0.0.0/16."
  }
}

variable "nat_per_zone" {
  description = "Whether each zone has a NAT gateway of its own; one for all costs a third and is lost with its zone."
  type        = bool
  default     = false
}

variable "logs_key" {
  description = "ARN of the KMS key that encrypts the flow logs."
  type        = string
}

variable "flow_log_days" {
  description = "Days for which flow logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.flow_log_days)
    error_message = "flow_log_days is ${var.flow_log_days}; CloudWatch accepts 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}
