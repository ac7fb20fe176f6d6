variable "project_id" {
  description = "Google Cloud project; it exists and has a billing account."
  type        = string
}

variable "region" {
  description = "Region of everything, such as europe-west4."
  type        = string
}

variable "budget" {
  description = "Monthly budget with alerts, which production must have."
  type        = object({ billing_account = string, monthly_amount = number, currency = optional(string), emails = optional(set(string)) })
}

variable "security_group" {
  description = "Google Group for RBAC: gke-security-groups@your-domain; null: none."
  type        = string
  default     = null
}
