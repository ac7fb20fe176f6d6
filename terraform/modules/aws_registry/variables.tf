variable "prefix" {
  description = "First part of the repositories' names."
  type        = string
}

variable "images" {
  description = "Names of the images; each gets a repository."
  type        = set(string)

  validation {
    condition     = length(var.images) > 0 && alltrue([for image in var.images : can(regex("^[a-z0-9][a-z0-9._-]*$", image))])
    error_message = "images is [${join(", ", var.images)}]; accepted are one or more names of lower-case letters, digits, dots, dashes and underscores."
  }
}

variable "key" {
  description = "ARN of the KMS key that encrypts the images."
  type        = string
}

variable "keep_versions" {
  description = "Latest versions of each image that are kept."
  type        = number
  default     = 20

  validation {
    condition     = var.keep_versions >= 1
    error_message = "keep_versions is ${var.keep_versions}; accepted are numbers from 1: the version that runs must stay."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes repositories that hold images."
  type        = bool
  default     = false
}
