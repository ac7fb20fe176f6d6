variable "region" {
  description = "AWS region of the cluster."
  type        = string
}

variable "prefix" {
  description = "First part of the roles' names."
  type        = string
}

variable "cluster_name" {
  description = "Name of the cluster; it has nodes by the time this module runs."
  type        = string
}

variable "disk_key" {
  description = "ARN of the KMS key of disks."
  type        = string
}

variable "autoscaler_chart" {
  description = "Chart of the cluster autoscaler: repository and exact version."
  type        = object({ repository = string, version = string })
  default     = { repository = "https://kubernetes.github.io/autoscaler", version = "9.59.0" }

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", var.autoscaler_chart.version))
    error_message = "autoscaler_chart.version is '${var.autoscaler_chart.version}'; accepted is an exact version such as 9.59.0."
  }
}

variable "device_plugin_chart" {
  description = "Chart of NVIDIA's device plug-in: repository and exact version."
  type        = object({ repository = string, version = string })
  default     = { repository = "https://nvidia.github.io/k8s-device-plugin", version = "0.19.3" }

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", var.device_plugin_chart.version))
    error_message = "device_plugin_chart.version is '${var.device_plugin_chart.version}'; accepted is an exact version such as 0.19.3."
  }
}
