output "namespaces" {
  description = "Namespace by role: platform, pipelines, serving."
  value       = local.contract.namespaces
}

output "service_accounts" {
  description = "Kubernetes service account by component: its namespace and name."
  value       = local.contract.service_accounts
}

output "access" {
  description = "What a component may do in a bucket (read or write), by component and logical bucket name. A component that is not named here gets no identity in the cloud."
  value       = local.contract.access
}

output "buckets" {
  description = "Logical bucket name to the bucket's name in the in-cluster MinIO. In a cloud the name is '<prefix>-<logical name>'."
  value       = local.contract.buckets
}

output "node_labels" {
  description = "Node labels: key and accepted values, by role: pool and accelerator."
  value       = local.contract.node_labels
}

output "taints" {
  description = "Node taints by role: gpu (on every GPU node) and spot (on every node that may vanish)."
  value       = local.contract.taints
}

output "cluster_env" {
  description = "The keys that the output cluster_env of an environment must have, in the order in which cluster_env.py writes them."
  value       = local.contract.cluster_env
}
