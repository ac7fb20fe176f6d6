terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.28, < 7"
    }
    helm = {
      source  = "hashicorp/helm"
      version = ">= 3.0, < 4"
    }
  }
}
