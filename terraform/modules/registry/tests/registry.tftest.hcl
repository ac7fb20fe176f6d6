mock_provider "google" {}

variables {
  project_id = "acme-jobs"
  location   = "europe-west4"
  prefix     = "jobtuner-test"
  key        = "key"
}

run "immutable_scanned_cleaned" {
  command = plan

  assert {
    condition     = google_artifact_registry_repository.images.docker_config[0].immutable_tags && google_artifact_registry_repository.images.kms_key_name == "key"
    error_message = "Tags never move, and images are encrypted with our key."
  }

  assert {
    condition     = google_artifact_registry_repository.images.vulnerability_scanning_config[0].enablement_config == "INHERITED"
    error_message = "Images are scanned."
  }

  assert {
    condition     = { for policy in google_artifact_registry_repository.images.cleanup_policies : policy.id => policy.action } == { keep-latest = "KEEP", delete-untagged = "DELETE", delete-old = "DELETE" }
    error_message = "Old images go, the latest stay."
  }

  assert {
    condition     = output.image_registry == "europe-west4-docker.pkg.dev/acme-jobs/jobtuner-test-images"
    error_message = "What stands before an image's name."
  }
}

run "bad_values" {
  command = plan
  variables {
    keep_versions     = 0
    delete_after_days = 1
    writers           = ["ci@example.com"]
  }
  expect_failures = [var.keep_versions, var.delete_after_days, var.writers]
}
