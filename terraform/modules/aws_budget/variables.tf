variable "prefix" {
  description = "First part of the budget's name."
  type        = string
}

variable "monthly_amount" {
  description = "Budget of a calendar month for the whole account, in US dollars."
  type        = number

  validation {
    condition     = var.monthly_amount >= 1
    error_message = "monthly_amount is ${var.monthly_amount}; accepted are numbers from 1."
  }
}

variable "thresholds" {
  description = "Shares of the budget at which a mail goes out; one more goes out when the forecast exceeds it. AWS allows five in all."
  type        = list(number)
  default     = [0.5, 0.8, 1]

  validation {
    condition     = length(var.thresholds) <= 4 && alltrue([for share in var.thresholds : share > 0 && share <= 2])
    error_message = "thresholds are ${join(", ", var.thresholds)}; accepted are up to 4 numbers above 0 and up to 2 (1 is the whole budget)."
  }
}

variable "emails" {
  description = "Who gets the mails: 1 to 10 addresses."
  type        = set(string)

  validation {
    condition     = length(var.emails) >= 1 && length(var.emails) <= 10 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "emails are ${join(", ", var.emails)}; accepted are 1 to 10 mail addresses."
  }
}
