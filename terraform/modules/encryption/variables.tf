variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "location" {
  description = "Where the keys live: the region of what they encrypt."
  type        = string
}

variable "prefix" {
  description = "First part of the key ring's name."
  type        = string
}

variable "labels" {
  description = "Labels of every resource that takes them."
  type        = map(string)
  default     = { app = "jobtuner" }
}
