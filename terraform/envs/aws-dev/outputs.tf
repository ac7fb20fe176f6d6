output "cluster_env" {
  description = "What manifests/ must know of this environment (make cluster-env)."
  value       = module.platform.cluster_env
}

output "names" {
  description = "Namespaces, service accounts, buckets, and each pool's labels and taints."
  value       = module.platform.names
}

output "connect_command" {
  description = "What gives kubectl access."
  value       = module.platform.connect_command
}
