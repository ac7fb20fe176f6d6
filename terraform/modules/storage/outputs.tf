output "buckets" {
  description = "Bucket name by logical name: data, artifacts, models, answers."
  value       = { for name in keys(local.names) : name => google_storage_bucket.this[name].name }
}

output "s3_endpoint" {
  description = "Where Cloud Storage answers in S3's language."
  value       = "https://storage.googleapis.com"
}

output "hmac_keys" {
  description = "Access key and secret by component, for clients that speak S3 only."
  value       = { for component, key in google_storage_hmac_key.component : component => { access_key = key.access_id, secret_key = key.secret } }
  sensitive   = true
}
