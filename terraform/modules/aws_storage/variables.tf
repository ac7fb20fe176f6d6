variable "region" {
  description = "AWS region of the buckets: that of the cluster."
  type        = string
}

variable "prefix" {
  description = "First part of the buckets' names, which are unique in all of AWS: <prefix>-data and so on."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,52}$", var.prefix)) && !endswith(var.prefix, "-")
    error_message = "prefix is '${var.prefix}'; accepted are 2 to 53 lower-case letters, digits and dashes, no dash at either end."
  }
}

variable "key" {
  description = "ARN of the KMS key that encrypts the objects."
  type        = string
}

variable "noncurrent_days" {
  description = "Days for which an overwritten or deleted object can be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days is ${var.noncurrent_days}; accepted are numbers from 1."
  }
}

variable "cold_after_days" {
  description = "Days after which artifacts and models move to Standard-IA: cheaper to keep, dearer to read."
  type        = number
  default     = 90

  validation {
    condition     = var.cold_after_days >= 30
    error_message = "cold_after_days is ${var.cold_after_days}; accepted are numbers from 30 (S3's own limit)."
  }
}

variable "log_days" {
  description = "Days for which access logs are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.log_days >= 1
    error_message = "log_days is ${var.log_days}; accepted are numbers from 1."
  }
}

variable "models_retention_days" {
  description = "Days for which a version of an object in the models bucket cannot be deleted; 0: none. It also holds back `terraform destroy`."
  type        = number
  default     = 0

  validation {
    condition     = var.models_retention_days >= 0 && var.models_retention_days <= 36500
    error_message = "models_retention_days is ${var.models_retention_days}; accepted are 0 to 36500."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes buckets that hold objects."
  type        = bool
  default     = false
}
