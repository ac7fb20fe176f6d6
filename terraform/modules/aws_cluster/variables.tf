variable "region" {
  description = "AWS region of the cluster."
  type        = string
}

variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes version, as <major>.<minor>; EKS keeps the patches up to date."
  type        = string
  default     = "1.34"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version is '${var.kubernetes_version}'; accepted is the form 1.34."
  }
}

variable "subnet_ids" {
  description = "Ids of the private subnets."
  type        = set(string)
}

variable "secrets_key" {
  description = "ARN of the KMS key that encrypts Kubernetes Secrets."
  type        = string
}

variable "logs_key" {
  description = "ARN of the KMS key that encrypts the control plane's logs."
  type        = string
}

variable "log_days" {
  description = "Days for which the control plane's logs are kept; the audit log is among them."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days is ${var.log_days}; CloudWatch accepts 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "authorized_networks" {
  description = "Who may reach the control plane from outside, as CIDR. Empty (default): only the network itself, and `terraform apply` must run there."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.authorized_networks : can(cidrnetmask(range)) && range != "0.0.0.0/0"])
    error_message = "authorized_networks has ${join(", ", var.authorized_networks)}; accepted are IPv4 ranges such as 203.0.113.0/24, and never 0.0.0.0/0."
  }
}

variable "admins" {
  description = "ARNs of IAM roles or users that administer the cluster, by any name. Whoever applies is one anyway."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for arn in var.admins : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "admins has ${join(", ", values(var.admins))}; accepted are ARNs such as arn:aws:iam::123456789012:role/platform."
  }
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` refuses to delete the cluster."
  type        = bool
  default     = true
}
