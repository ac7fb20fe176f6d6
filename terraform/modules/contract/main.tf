# The names that Terraform and manifests/ must agree on. They stand in contract.json, which the Python tests read too:
# a rename on one side only fails tests/terraform/test_contract.py.

terraform {
  required_version = ">= 1.11"
}

locals {
  contract = jsondecode(file("${path.module}/contract.json"))
}
