# One service account a component. What it may do in a bucket is the storage module's affair; it may do nothing else.

module "contract" {
  source = "../contract"
}

locals {
  components = { for component in keys(module.contract.access) : component => module.contract.service_accounts[component] }
}

resource "google_service_account" "component" {
  for_each = local.components

  project      = var.project_id
  account_id   = "${var.prefix}-${each.key}"
  display_name = "JobTuner: ${each.key}"
}

# Workload Identity: the Kubernetes service account of that very namespace and name acts as the component, with no key.
resource "google_service_account_iam_member" "workload" {
  for_each = local.components

  service_account_id = google_service_account.component[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.workload_pool}[${each.value.namespace}/${each.value.name}]"
}
