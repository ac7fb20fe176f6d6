variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "location" {
  description = "Region of the repository: that of the cluster."
  type        = string
}

variable "prefix" {
  description = "First part of the repository's name."
  type        = string
}

variable "key" {
  description = "Id of the KMS key that encrypts the images."
  type        = string
}

variable "scanning" {
  description = "Whether Google scans pushed images for known vulnerabilities (charged by the image)."
  type        = bool
  default     = true
}

variable "keep_versions" {
  description = "Latest versions of each image that are always kept."
  type        = number
  default     = 10

  validation {
    condition     = var.keep_versions >= 1
    error_message = "keep_versions is ${var.keep_versions}; accepted are numbers from 1: the version that runs must stay."
  }
}

variable "delete_after_days" {
  description = "Days after which all other versions are deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.delete_after_days >= 7
    error_message = "delete_after_days is ${var.delete_after_days}; accepted are numbers from 7."
  }
}

variable "writers" {
  description = "IAM members that may push images, such as the continuous integration's service account. Nodes may read by their own role."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.writers : can(regex("^(serviceAccount|group|user|principal|principalSet):", member))])
    error_message = "writers has ${join(", ", var.writers)}; accepted are members that begin with serviceAccount:, group:, user:, principal: or principalSet:."
  }
}

variable "labels" {
  description = "Labels of every resource that takes them."
  type        = map(string)
  default     = { app = "jobtuner" }
}
