mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "42" }
  }
}
mock_provider "google-beta" {}

variables {
  project_id = "acme-jobs"
  location   = "europe-west4"
  prefix     = "jobtuner-test"
}

run "a_key_a_purpose" {
  command = apply

  assert {
    condition     = toset(keys(output.keys)) == toset(["cluster", "database", "disks", "registry", "storage"])
    error_message = "One key for each purpose."
  }

  assert {
    condition     = alltrue([for key in google_kms_crypto_key.this : key.rotation_period == "7776000s" && key.destroy_scheduled_duration == "2592000s"])
    error_message = "Keys rotate after 90 days and wait 30 days before they go."
  }

  assert {
    condition     = google_kms_crypto_key_iam_member.agent["cluster"].member == "serviceAccount:service-42@container-engine-robot.iam.gserviceaccount.com"
    error_message = "GKE's own agent uses the key of Kubernetes Secrets."
  }

  assert {
    condition     = alltrue([for grant in google_kms_crypto_key_iam_member.agent : grant.role == "roles/cloudkms.cryptoKeyEncrypterDecrypter"])
    error_message = "Agents encrypt and decrypt, and manage nothing."
  }
}
