variable "region" {
  description = "AWS region of everything, such as eu-central-1."
  type        = string
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
