variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "prefix" {
  description = "First part of the budget's name."
  type        = string
}

variable "billing_account" {
  description = "Billing account that pays for the project: 000000-000000-000000."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account is '${var.billing_account}'; accepted is the form 01ABCD-234567-89EF01 (`gcloud billing accounts list`)."
  }
}

variable "monthly_amount" {
  description = "Budget of a calendar month, in whole units of the currency."
  type        = number

  validation {
    condition     = var.monthly_amount >= 1 && floor(var.monthly_amount) == var.monthly_amount
    error_message = "monthly_amount is ${var.monthly_amount}; accepted are whole numbers from 1."
  }
}

variable "currency" {
  description = "Currency of the billing account, as ISO 4217 has it."
  type        = string
  default     = "USD"

  validation {
    condition     = can(regex("^[A-Z]{3}$", var.currency))
    error_message = "currency is '${var.currency}'; accepted are three capital letters, such as USD or EUR."
  }
}

variable "thresholds" {
  description = "Shares of the budget at which a mail goes out; one more goes out when the forecast exceeds it."
  type        = list(number)
  default     = [0.5, 0.8, 1]

  validation {
    condition     = alltrue([for share in var.thresholds : share > 0 && share <= 2])
    error_message = "thresholds are ${join(", ", var.thresholds)}; accepted are numbers above 0 and up to 2 (1 is the whole budget)."
  }
}

variable "emails" {
  description = "Who gets the mails, besides the billing account's administrators. Google allows five."
  type        = set(string)
  default     = []

  validation {
    condition     = length(var.emails) <= 5 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "emails are ${join(", ", var.emails)}; accepted are up to 5 mail addresses."
  }
}
