mock_provider "google" {}
mock_provider "google-beta" {}
# random needs no account, and Terraform cannot mock its ephemeral password: the provider itself runs.

variables {
  project_id = "acme-jobs"
  region     = "europe-west4"
  prefix     = "jobtuner-test"
  node_pools = { system = { pool = "system", min_nodes = 1 } }
  gpu_pools  = { l4 = { accelerator = "l4", max_nodes = 1 } }
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
    error_message = "Each pool is listed with its labels and taints."
  }

  assert {
    condition     = output.cluster_env.BUCKET_MODELS == "acme-jobs-jobtuner-test-models" && output.cluster_env.DATABASE_HOST == ""
    error_message = "Buckets are named by project and prefix; without a database the host is empty."
  }
}

run "optional_parts_are_off" {
  command = plan

  assert {
    condition     = length(module.database) == 0 && length(module.budget) == 0 && output.commands.database_password == null
    error_message = "A database and a budget are made on request."
  }
}

run "all_parts" {
  command = plan
  variables {
    database = {}
    budget   = { billing_account = "012345-6789AB-CDEF01", monthly_amount = 10 }
  }

  assert {
    condition     = length(module.database) == 1 && length(module.budget) == 1 && strcontains(output.commands.database_password, "jobtuner-test-mlflow-database")
    error_message = "Both parts, and how to read the password."
  }
}

run "no_system_pool" {
  command = plan
  variables {
    node_pools = { work = { pool = "work" } }
  }
  expect_failures = [var.node_pools]
}

run "project_number_instead_of_id" {
  command = plan
  variables {
    project_id = "123456789012"
  }
  expect_failures = [var.project_id]
}
