variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "location" {
  description = "Region of the buckets: that of the cluster, since reading across regions costs and waits."
  type        = string
}

variable "prefix" {
  description = "First part of the buckets' names, which are unique in all of Google Cloud: <prefix>-data and so on."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,52}[a-z0-9]$", var.prefix)) && !startswith(var.prefix, "goog")
    error_message = "prefix is '${var.prefix}'; accepted are 3 to 54 lower-case letters, digits and dashes, a letter first, not beginning with goog."
  }
}

variable "key" {
  description = "Id of the KMS key that encrypts the objects."
  type        = string
}

variable "members" {
  description = "IAM member (serviceAccount:…) by component, for every component that the contract gives access."
  type        = map(string)
}

variable "hmac_components" {
  description = "Components that get an HMAC key for the S3-compatible interface of Cloud Storage: pipeline, deployer, mlflow, gateway, serving."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.hmac_components, ["pipeline", "deployer", "mlflow", "gateway", "serving"])) == 0
    error_message = "hmac_components is [${join(", ", var.hmac_components)}]; accepted are pipeline, deployer, mlflow, gateway, serving."
  }
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
  description = "Days after which artifacts and models move to Nearline: cheaper to keep, dearer to read."
  type        = number
  default     = 90

  validation {
    condition     = var.cold_after_days >= 30
    error_message = "cold_after_days is ${var.cold_after_days}; accepted are numbers from 30."
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
  description = "Days for which a deleted object of the models bucket, versions too, can be brought back; 0: none."
  type        = number
  default     = 7

  validation {
    condition     = var.models_retention_days == 0 || (var.models_retention_days >= 7 && var.models_retention_days <= 90)
    error_message = "models_retention_days is ${var.models_retention_days}; accepted are 0, and 7 to 90 (Cloud Storage's own limits)."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes buckets that hold objects."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of every resource that takes them."
  type        = map(string)
  default     = { app = "jobtuner" }
}
