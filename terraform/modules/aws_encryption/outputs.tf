output "keys" {
  description = "ARN of the key by purpose: cluster (Kubernetes Secrets), disks, storage, registry, logs."
  value       = { for purpose, key in aws_kms_key.this : purpose => key.arn }
}
