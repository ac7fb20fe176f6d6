output "keys" {
  description = "Key id by purpose: cluster (Kubernetes Secrets), disks, storage, registry, database. Known only after the service's agent may use the key."
  value       = { for purpose, key in google_kms_crypto_key.this : purpose => key.id }
  depends_on  = [google_kms_crypto_key_iam_member.agent]
}
