variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "eu-central-1"
}

variable "zones" {
  description = "Availability zones of the region: 2 or 3."
  type        = list(string)
  default     = ["eu-central-1a", "eu-central-1b"]
}

variable "authorized_networks" {
  description = "From where the control plane may be reached, as CIDR: yours, since apply installs charts."
  type        = set(string)
}

variable "budget" {
  description = "Monthly budget in US dollars, and who is told; null: none."
  type        = object({ monthly_amount = number, emails = set(string) })
  default     = null
}
