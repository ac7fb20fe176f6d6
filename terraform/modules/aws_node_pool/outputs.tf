output "pools" {
  description = "What a pod must know of the pool, by pool name: node labels and taints."
  value = {
    (local.name) = { labels = local.labels, taints = local.taints }
  }
  depends_on = [aws_eks_node_group.this]
}
