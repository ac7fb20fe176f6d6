output "cluster_env" {
  description = "What manifests/ must know of this environment (make cluster-env)."
  value       = module.platform.cluster_env
}

output "commands" {
  description = "What to type to connect."
  value       = module.platform.commands
}
