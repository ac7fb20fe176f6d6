mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}
mock_provider "helm" {}

variables {
  region     = "eu-central-1"
  zones      = ["eu-central-1a", "eu-central-1b"]
  prefix     = "jobtuner-test"
  node_pools = { system = { pool = "system", min_nodes = 1 } }
  gpu_pools  = { l4 = { accelerator = "l4", max_nodes = 1, zones = ["eu-central-1b"] } }
}

run "contract" {
  command = plan

  assert {
    condition     = toset(keys(output.cluster_env)) == toset(module.contract.cluster_env)
    error_message = "cluster_env has the contract's keys and no others."
  }

  assert {
    condition     = output.names.namespaces == module.contract.namespaces && output.names.service_accounts == module.contract.service_accounts && keys(output.names.buckets) == keys(module.contract.buckets)
    error_message = "Namespaces, service accounts and buckets are the contract's."
  }

  assert {
    condition     = toset(keys(output.names.pools)) == toset(["l4x1-on-demand", "l4x1-spot", "system"])
    error_message = "Pools have the same names as on Google Cloud."
  }

  assert {
    condition     = output.cluster_env.BUCKET_MODELS == "jobtuner-test-123456789012-models"
    error_message = "Buckets are named by prefix and account."
  }
}

run "zone_without_subnet" {
  command = plan
  variables {
    gpu_pools = { l4 = { accelerator = "l4", max_nodes = 1, zones = ["eu-central-1c"] } }
  }
  expect_failures = [var.gpu_pools]
}

run "no_system_pool" {
  command = plan
  variables {
    node_pools = { system = { pool = "system" } }
  }
  expect_failures = [var.node_pools]
}
