variable "prefix" {
  description = "First part of the roles' names."
  type        = string
}

variable "cluster_name" {
  description = "Name of the cluster."
  type        = string
}

variable "bucket_arns" {
  description = "Bucket ARN by logical name: data, artifacts, models, answers."
  type        = map(string)
}

variable "key" {
  description = "ARN of the KMS key that encrypts the buckets."
  type        = string
}
