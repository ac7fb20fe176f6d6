mock_provider "google" {}

variables {
  project_id = "acme-jobs"
  location   = "europe-west4"
  prefix     = "acme-jobs-jobtuner-test"
  key        = "key"
  members = {
    pipeline = "serviceAccount:pipeline@acme-jobs.iam.gserviceaccount.com"
    deployer = "serviceAccount:deployer@acme-jobs.iam.gserviceaccount.com"
    mlflow   = "serviceAccount:mlflow@acme-jobs.iam.gserviceaccount.com"
    gateway  = "serviceAccount:gateway@acme-jobs.iam.gserviceaccount.com"
    serving  = "serviceAccount:serving@acme-jobs.iam.gserviceaccount.com"
  }
}

run "private_versioned_encrypted" {
  command = plan

  assert {
    condition     = output.buckets == { data = "acme-jobs-jobtuner-test-data", artifacts = "acme-jobs-jobtuner-test-artifacts", models = "acme-jobs-jobtuner-test-models", answers = "acme-jobs-jobtuner-test-answers" }
    error_message = "The four buckets of the contract."
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced" && bucket.versioning[0].enabled && bucket.encryption[0].default_kms_key_name == "key" && !bucket.force_destroy])
    error_message = "No bucket is public, unversioned, under Google's key, or deleted with what is in it."
  }

  assert {
    condition     = google_storage_bucket.this["models"].soft_delete_policy[0].retention_duration_seconds == 604800 && google_storage_bucket.this["data"].soft_delete_policy[0].retention_duration_seconds == 0
    error_message = "Deleted models can be brought back for 7 × 86,400 s."
  }

  assert {
    condition     = google_storage_bucket.this["data"].logging[0].log_bucket == "acme-jobs-jobtuner-test-logs" && length(google_storage_bucket.this["logs"].logging) == 0
    error_message = "Access is logged, and the log's bucket does not log into itself."
  }
}

run "least_privilege" {
  command = plan

  assert {
    condition     = toset(keys(google_storage_bucket_iam_member.component)) == toset(["pipeline/data", "pipeline/artifacts", "pipeline/models", "pipeline/answers", "deployer/models", "mlflow/artifacts", "gateway/models", "gateway/answers", "serving/models"])
    error_message = "Who may open which bucket is what the contract says."
  }

  assert {
    condition     = google_storage_bucket_iam_member.component["serving/models"].role == "roles/storage.objectViewer" && google_storage_bucket_iam_member.component["pipeline/models"].role == "roles/storage.objectUser"
    error_message = "Serving reads models; only the pipeline writes them."
  }

  assert {
    condition     = google_storage_bucket_iam_member.component["deployer/models"].role == "roles/storage.objectViewer" && google_storage_bucket_iam_member.component["gateway/answers"].role == "roles/storage.objectUser"
    error_message = "The deployer reads models; the gateway writes its prediction log, and forgets old days."
  }

  assert {
    condition     = one([for rule in google_storage_bucket.this["answers"].lifecycle_rule : one(rule.condition).days_since_noncurrent_time if coalesce(one(rule.condition).days_since_noncurrent_time, 0) > 0]) == 1
    error_message = "What was deleted from the prediction log is gone within a day."
  }

  assert {
    condition     = length(google_storage_hmac_key.component) == 0
    error_message = "No keys unless asked for."
  }
}

run "s3_keys_on_request" {
  command = plan
  variables {
    hmac_components = ["pipeline"]
  }

  assert {
    condition     = google_storage_hmac_key.component["pipeline"].service_account_email == "pipeline@acme-jobs.iam.gserviceaccount.com"
    error_message = "The key acts as the component's own account."
  }
}

run "bad_values" {
  command = plan
  variables {
    prefix                = "Goog_le"
    hmac_components       = ["minio"]
    models_retention_days = 3
    noncurrent_days       = 0
    cold_after_days       = 7
    log_days              = 0
  }
  expect_failures = [var.prefix, var.hmac_components, var.models_retention_days, var.noncurrent_days, var.cold_after_days, var.log_days]
}
