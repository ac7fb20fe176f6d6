output "buckets" {
  description = "Bucket name by logical name: data, artifacts, models, answers."
  value       = { for name in local.logged : name => aws_s3_bucket.this[name].bucket }
}

output "arns" {
  description = "Bucket ARN by logical name."
  value       = { for name in local.logged : name => aws_s3_bucket.this[name].arn }
}

output "s3_endpoint" {
  description = "Where S3 answers in this region."
  value       = "https://s3.${var.region}.amazonaws.com"
}
