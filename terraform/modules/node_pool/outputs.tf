output "pools" {
  description = "What a pod must know of the pool, by pool name: node labels and taints."
  value = {
    (google_container_node_pool.this.name) = { labels = local.labels, taints = local.taints }
  }
}
