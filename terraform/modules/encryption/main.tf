# One key a purpose, so that each can be revoked alone. Only Google's own agent of that service may use it: people and
# workloads never touch a key, they reach data through the service.
locals {
  agents = {
    cluster  = "serviceAccount:service-${data.google_project.this.number}@container-engine-robot.iam.gserviceaccount.com"
    disks    = "serviceAccount:service-${data.google_project.this.number}@compute-system.iam.gserviceaccount.com"
    storage  = "serviceAccount:${data.google_storage_project_service_account.this.email_address}"
    registry = google_project_service_identity.registry.member
    database = google_project_service_identity.database.member
  }
}

data "google_project" "this" {
  project_id = var.project_id
}

# Reading it makes the agent, where the project never had a bucket.
data "google_storage_project_service_account" "this" {
  project = var.project_id
}

resource "google_project_service_identity" "registry" {
  provider = google-beta
  project  = var.project_id
  service  = "artifactregistry.googleapis.com"
}

resource "google_project_service_identity" "database" {
  provider = google-beta
  project  = var.project_id
  service  = "sqladmin.googleapis.com"
}

# Key rings and key names are for ever: Google never deletes them, so a destroyed environment needs a new prefix or
# `terraform import` (terraform/README.md, "Destroy").
resource "google_kms_key_ring" "this" {
  project  = var.project_id
  location = var.location
  name     = "${var.prefix}-keys"
}

resource "google_kms_crypto_key" "this" {
  for_each = local.agents

  key_ring                   = google_kms_key_ring.this.id
  name                       = each.key
  rotation_period            = "7776000s" # 90 days × 86,400 s; old versions keep decrypting what they encrypted
  destroy_scheduled_duration = "2592000s" # 30 days × 86,400 s to regret a destroy

  labels = var.labels
}

resource "google_kms_crypto_key_iam_member" "agent" {
  for_each = local.agents

  crypto_key_id = google_kms_crypto_key.this[each.key].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.value
}
