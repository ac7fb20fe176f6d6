variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the database: that of the cluster."
  type        = string
}

variable "prefix" {
  description = "First part of every name. Cloud SQL keeps the name of a deleted instance for a week."
  type        = string
}

variable "network_id" {
  description = "Id of the network in which the database gets its address."
  type        = string
}

variable "private_services_connection" {
  description = "The network's peering (output of the module network); the database waits for it."
  type        = string
}

variable "key" {
  description = "Id of the KMS key that encrypts the database."
  type        = string
}

variable "tier" {
  description = "Machine type: db-custom-<vCPU>-<MiB>, or db-f1-micro and db-g1-small, which share a core and have no service level."
  type        = string
  default     = "db-custom-1-3840"

  validation {
    condition     = can(regex("^(db-custom-[0-9]+-[0-9]+|db-f1-micro|db-g1-small)$", var.tier))
    error_message = "tier is '${var.tier}'; accepted are db-custom-<vCPU>-<MiB> such as db-custom-1-3840, db-f1-micro, db-g1-small."
  }
}

variable "high_availability" {
  description = "Whether a standby in another zone takes over (twice the price)."
  type        = bool
  default     = false
}

variable "backups" {
  description = "Daily backups that are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.backups >= 1 && var.backups <= 365
    error_message = "backups is ${var.backups}; accepted are 1 to 365."
  }
}

variable "password_version" {
  description = "Raise it by one to set a new password."
  type        = number
  default     = 1
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` refuses to delete the database."
  type        = bool
  default     = true
}

variable "labels" {
  description = "Labels of every resource that takes them."
  type        = map(string)
  default     = { app = "jobtuner" }
}
