run "names" {
  command = plan

  assert {
    condition     = length(setsubtract(keys(output.access), keys(output.service_accounts))) == 0
    error_message = "Every component with access to buckets needs a service account."
  }

  assert {
    condition     = alltrue([for account in output.service_accounts : contains(values(output.namespaces), account.namespace)])
    error_message = "Every service account lies in a namespace of the contract."
  }

  assert {
    condition     = alltrue(flatten([for rights in output.access : [for bucket, right in rights : contains(keys(output.buckets), bucket) && contains(["read", "write"], right)]]))
    error_message = "Access names buckets of the contract, and read or write."
  }

  assert {
    condition     = output.taints.gpu == { key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }
    error_message = "GKE and the pipeline's toleration expect this very taint on GPU nodes."
  }
}
