# One repository for all images: immutable tags, scanning, clean-up.

resource "google_artifact_registry_repository" "images" {
  project       = var.project_id
  location      = var.location
  repository_id = "${var.prefix}-images"
  description   = "JobTuner's images."
  format        = "DOCKER"
  kms_key_name  = var.key
  labels        = var.labels

  # A tag says for ever the same: what was tested is what runs.
  docker_config {
    immutable_tags = true
  }

  # Follows the project: on where containerscanning.googleapis.com is enabled.
  vulnerability_scanning_config {
    enablement_config = var.scanning ? "INHERITED" : "DISABLED"
  }

  # "Keep" wins over "delete", so the latest of each image stay however old they are.
  cleanup_policies {
    id     = "keep-latest"
    action = "KEEP"

    most_recent_versions {
      keep_count = var.keep_versions
    }
  }

  cleanup_policies {
    id     = "delete-untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "${7 * 24 * 3600}s" # a week: a push that failed midway may still be repeated
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      tag_state  = "ANY"
      older_than = "${var.delete_after_days * 24 * 3600}s"
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "writer" {
  for_each = var.writers

  project    = google_artifact_registry_repository.images.project
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = each.value
}
