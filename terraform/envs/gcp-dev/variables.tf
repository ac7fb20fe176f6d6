variable "project_id" {
  description = "Google Cloud project; it exists and has a billing account."
  type        = string
}

variable "region" {
  description = "Region of everything, such as europe-west4."
  type        = string
}

variable "budget" {
  description = "Monthly budget with alerts; null: none."
  type        = object({ billing_account = string, monthly_amount = number, currency = optional(string), emails = optional(set(string)) })
  default     = null
}
