output "cluster_env" {
  description = "What manifests/ must know of this environment (make cluster-env)."
  value       = module.platform.cluster_env
}

output "commands" {
  description = "What to type: to connect, and for the database's password."
  value       = module.platform.commands
}

output "credentials" {
  description = "S3 keys by component."
  value       = module.platform.credentials
  sensitive   = true
}
