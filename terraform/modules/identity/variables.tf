variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "prefix" {
  description = "First part of the accounts' names."
  type        = string

  validation {
    # An account's name has 6 to 30 characters, and the longest component is pipeline: 21 + 1 + 8 = 30.
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}[a-z0-9]$", var.prefix))
    error_message = "prefix is '${var.prefix}'; accepted are 3 to 21 lower-case letters, digits and dashes, a letter first."
  }
}

variable "workload_pool" {
  description = "The cluster's Workload Identity pool: <project>.svc.id.goog."
  type        = string
}
