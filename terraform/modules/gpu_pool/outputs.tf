output "pools" {
  description = "What a pod must know of the pools, by pool name: node labels and taints."
  value       = { for capacity, pool in google_container_node_pool.this : pool.name => { labels = local.labels, taints = local.capacities[capacity].taints } }
}
