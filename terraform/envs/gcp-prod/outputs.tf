output "cluster_env" {
  description = "What manifests/ must know of this environment (make cluster-env)."
  value       = module.platform.cluster_env
}

output "names" {
  description = "Namespaces, service accounts, buckets, and each pool's labels and taints."
  value       = module.platform.names
}

output "credentials" {
  description = "S3 keys by component."
  value       = module.platform.credentials
  sensitive   = true
}

output "connect_command" {
  description = "What gives kubectl access."
  value       = module.platform.connect_command
}

output "database_secret" {
  description = "Secret Manager's id of MLflow's database password."
  value       = module.platform.database_secret
}
