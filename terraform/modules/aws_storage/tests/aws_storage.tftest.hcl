mock_provider "aws" {}

variables {
  region = "eu-central-1"
  prefix = "jobtuner-test-123456789012"
  key    = "arn:aws:kms:eu-central-1:123456789012:key/storage"
}

run "private_versioned_encrypted" {
  command = plan

  assert {
    condition     = output.buckets == { data = "jobtuner-test-123456789012-data", artifacts = "jobtuner-test-123456789012-artifacts", models = "jobtuner-test-123456789012-models", answers = "jobtuner-test-123456789012-answers" }
    error_message = "The four buckets of the contract."
  }

  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.this : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets]) && length(aws_s3_bucket_public_access_block.this) == 5
    error_message = "No bucket can be made public."
  }

  assert {
    condition     = alltrue([for name in ["data", "artifacts", "models", "answers"] : one(one(aws_s3_bucket_server_side_encryption_configuration.this[name].rule).apply_server_side_encryption_by_default).kms_master_key_id == var.key])
    error_message = "What is ours is encrypted with our key."
  }

  assert {
    condition     = alltrue([for versioning in aws_s3_bucket_versioning.this : versioning.versioning_configuration[0].status == "Enabled"]) && !aws_s3_bucket.this["data"].force_destroy
    error_message = "Every bucket has versions, and none is deleted with what is in it."
  }

  assert {
    condition     = toset(keys(aws_s3_bucket_logging.this)) == toset(["data", "artifacts", "models", "answers"])
    error_message = "Access is logged, and the log's bucket does not log into itself."
  }

  assert {
    condition     = aws_s3_bucket.this["models"].object_lock_enabled && length(aws_s3_bucket_object_lock_configuration.models) == 0
    error_message = "Models can be locked (that can be chosen at creation only), and are not unless asked for."
  }
}

run "who_is_to_be_forgotten_is" {
  command = plan

  assert {
    condition     = { for name in ["answers", "data"] : name => one([for rule in aws_s3_bucket_lifecycle_configuration.this[name].rule : one(rule.noncurrent_version_expiration).noncurrent_days]) } == { answers = 1, data = 30 }
    error_message = "What was deleted from the prediction log is gone within a day."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this["answers"].rule : one(rule.noncurrent_version_expiration).newer_noncurrent_versions]) == null
    error_message = "No old version of the prediction log is kept besides."
  }
}

run "models_are_kept" {
  command = plan
  variables {
    models_retention_days = 30
  }

  assert {
    condition     = aws_s3_bucket_object_lock_configuration.models[0].rule[0].default_retention[0].mode == "GOVERNANCE" && aws_s3_bucket_object_lock_configuration.models[0].rule[0].default_retention[0].days == 30
    error_message = "A version of a model cannot be deleted for 30 days."
  }
}

run "bad_values" {
  command = plan
  variables {
    prefix                = "Jobs_"
    models_retention_days = -1
    noncurrent_days       = 0
    cold_after_days       = 7
    log_days              = 0
  }
  expect_failures = [var.prefix, var.models_retention_days, var.noncurrent_days, var.cold_after_days, var.log_days]
}
