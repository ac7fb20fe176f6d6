# The four buckets that the MinIO of manifests/ has in its place, and one for their access logs.

module "contract" {
  source = "../contract"
}

locals {
  logs    = "logs"
  buckets = { for name in concat(keys(module.contract.buckets), [local.logs]) : name => "${var.prefix}-${name}" }
  logged  = toset(keys(module.contract.buckets))
}

resource "aws_s3_bucket" "this" {
  for_each = local.buckets

  bucket              = each.value
  force_destroy       = var.force_destroy
  object_lock_enabled = each.key == "models"
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced" # no access lists: IAM alone decides
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    bucket_key_enabled = each.key != local.logs # one call of KMS an hour instead of one an object

    apply_server_side_encryption_by_default {
      # S3 delivers access logs only to a bucket under its own key.
      sse_algorithm     = each.key == local.logs ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == local.logs ? null : var.key
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "clean-up"
    status = "Enabled"

    filter {}

    # An old version helps for a while, then it only costs. Checkpoints make many: two are kept besides.
    # But whoever is to be forgotten (jobtuner log delete) shall be gone from the prediction log within a day, old versions too.
    noncurrent_version_expiration {
      noncurrent_days           = each.key == "answers" ? 1 : var.noncurrent_days
      newer_noncurrent_versions = each.key == "answers" ? null : 2
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    dynamic "transition" {
      for_each = each.key == "artifacts" || each.key == "models" ? [var.cold_after_days] : []

      content {
        days          = transition.value
        storage_class = "STANDARD_IA"
      }
    }

    dynamic "expiration" {
      for_each = each.key == local.logs ? [var.log_days] : []

      content {
        days = expiration.value
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

# Governance: who may bypass it is an IAM permission that no component has.
resource "aws_s3_bucket_object_lock_configuration" "models" {
  count = var.models_retention_days > 0 ? 1 : 0

  bucket = aws_s3_bucket.this["models"].id

  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = var.models_retention_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_logging" "this" {
  for_each = local.logged

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this[local.logs].id
  target_prefix = "${each.key}/"
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "OnlyEncryptedConnections"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.this[each.key].arn, "${aws_s3_bucket.this[each.key].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      each.key != local.logs ? [] : [{
        Sid       = "AccessLogs"
        Effect    = "Allow"
        Principal = { Service = "logging.s3.amazonaws.com" }
        Action    = ["s3:PutObject"]
        Resource  = ["${aws_s3_bucket.this[each.key].arn}/*"]
        Condition = { ArnLike = { "aws:SourceArn" = [for name in local.logged : aws_s3_bucket.this[name].arn] } }
      }],
    )
  })

  # A policy and a block that are put at the same time can collide.
  depends_on = [aws_s3_bucket_public_access_block.this]
}
