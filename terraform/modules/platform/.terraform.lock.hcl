# This file is maintained automatically by "terraform init".
# Manual edits may be lost in future updates.

provider "registry.terraform.io/hashicorp/google" {
  version     = "6.50.0"
  constraints = ">= 6.50.0, < 8.0.0"
  hashes = [
    "h1:mJB4nIj2aSGTkfar7ykULRUTa4zweWGfEAEGq2O34YQ=",
  ]
}

provider "registry.terraform.io/hashicorp/google-beta" {
  version     = "6.50.0"
  constraints = ">= 6.50.0, < 8.0.0"
  hashes = [
    "h1:NBXB3zZnfvv30a6993n2m784Y4OdigLSkQ/sysRMmY8=",
  ]
}

provider "registry.terraform.io/hashicorp/random" {
  version     = "3.7.2"
  constraints = ">= 3.7.0, < 4.0.0"
  hashes = [
    "h1:W0nF05UC7Z3jB6ds/iXM6qq3TtnC6HU4DdaUv47FSwc=",
  ]
}
