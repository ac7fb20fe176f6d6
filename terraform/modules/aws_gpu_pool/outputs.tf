output "pools" {
  description = "What a pod must know of the pools, by pool name: node labels and taints."
  value       = { for capacity, name in local.names : name => { labels = local.labels, taints = local.capacities[capacity].taints } }
  depends_on  = [aws_eks_node_group.this]
}
