variable "region" {
  description = "AWS region of the keys."
  type        = string
}

variable "prefix" {
  description = "First part of the keys' aliases."
  type        = string
}
