variable "project_id" {
  description = "Google Cloud project; it exists and has a billing account."
  type        = string
}

variable "region" {
  description = "Region of everything."
  type        = string
  default     = "europe-west4"
}

variable "budget" {
  description = "Monthly budget with alerts; production has one."
  type        = object({ billing_account = string, monthly_amount = number, currency = optional(string, "USD"), emails = optional(set(string), []) })
}

variable "security_group" {
  description = "Google Group for RBAC: gke-security-groups@your-domain; null: none."
  type        = string
  default     = null
}
