# This file is maintained automatically by "terraform init".
# Manual edits may be lost in future updates.

provider "registry.terraform.io/hashicorp/aws" {
  version     = "6.47.0"
  constraints = ">= 6.28.0, < 7.0.0"
  hashes = [
    "h1:RgPYVSBaXy3kfRRCxWqRhLy9TJLJ4wkqKHQ73J3rONQ=",
  ]
}

provider "registry.terraform.io/hashicorp/helm" {
  version     = "3.0.2"
  constraints = ">= 3.0.0, < 4.0.0"
  hashes = [
    "h1:0tEaGdaTGLFQmLDl/usuMQCpyTluOOmFyJ77cTbcdMA=",
  ]
}
