# The four buckets that the MinIO of manifests/ has in its place, and one for their access logs.

module "contract" {
  source = "../contract"
}

locals {
  logs  = "${var.prefix}-logs"
  names = { for name in keys(module.contract.buckets) : name => "${var.prefix}-${name}" }
  roles = { read = "roles/storage.objectViewer", write = "roles/storage.objectUser" }

  # "pipeline/data" → who, where, what. A component that nobody gave a member is an error, not a bucket it cannot open.
  grants = merge([
    for component, rights in module.contract.access : {
      for bucket, right in rights : "${component}/${bucket}" => { member = var.members[component], bucket = bucket, role = local.roles[right] }
    }
  ]...)
}

resource "google_storage_bucket" "this" {
  for_each = merge(local.names, { logs = local.logs })

  project                     = var.project_id
  name                        = each.value
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.force_destroy
  labels                      = var.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = var.key
  }

  # Versions help against mistakes; soft delete also against somebody who deletes the versions. It is charged like storage, so
  # only what cannot be made again has it. (A retention_policy excludes versions, and a locked one could never be destroyed.)
  soft_delete_policy {
    retention_duration_seconds = each.key == "models" ? var.models_retention_days * 86400 : 0
  }

  # An old version helps for a while, then it only costs. Checkpoints make many: keep two at most.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      with_state = "ARCHIVED"
      # Whoever is to be forgotten (jobtuner log delete) shall be gone from the prediction log within a day, old versions too.
      days_since_noncurrent_time = each.key == "answers" ? 1 : var.noncurrent_days
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      with_state         = "ARCHIVED"
      num_newer_versions = 2
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 7
    }
  }

  # Models and reports are read for weeks and kept for years.
  dynamic "lifecycle_rule" {
    for_each = each.key == "artifacts" || each.key == "models" ? [var.cold_after_days] : []

    content {
      action {
        type          = "SetStorageClass"
        storage_class = "NEARLINE"
      }

      condition {
        age                   = lifecycle_rule.value
        matches_storage_class = ["STANDARD"]
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = each.key == "logs" ? [var.log_days] : []

    content {
      action {
        type = "Delete"
      }

      condition {
        age = lifecycle_rule.value
      }
    }
  }

  dynamic "logging" {
    for_each = each.key == "logs" ? [] : [local.logs]

    content {
      log_bucket        = logging.value
      log_object_prefix = each.key
    }
  }
}

# Cloud Storage's own group writes the access logs.
resource "google_storage_bucket_iam_member" "log_writer" {
  bucket = google_storage_bucket.this["logs"].name
  role   = "roles/storage.objectCreator"
  member = "group:cloud-storage-analytics@google.com"
}

resource "google_storage_bucket_iam_member" "component" {
  for_each = local.grants

  bucket = google_storage_bucket.this[each.value.bucket].name
  role   = each.value.role
  member = each.value.member
}

# For clients that speak S3 only. The secret then lies in the state, which is why it is off by default.
resource "google_storage_hmac_key" "component" {
  for_each = var.hmac_components

  project               = var.project_id
  service_account_email = trimprefix(var.members[each.value], "serviceAccount:")
}
