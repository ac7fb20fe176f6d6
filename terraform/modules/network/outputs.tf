output "network_id" {
  description = "Id of the network."
  value       = google_compute_network.this.id
}

output "subnetwork_id" {
  description = "Id of the nodes' subnet."
  value       = google_compute_subnetwork.nodes.id
}

output "range_names" {
  description = "Names of the secondary ranges: pods, services."
  value = {
    pods     = google_compute_subnetwork.nodes.secondary_ip_range[0].range_name
    services = google_compute_subnetwork.nodes.secondary_ip_range[1].range_name
  }
}

output "private_services_connection" {
  description = "The peering that managed services need, for what must wait for it; null where private_services is off."
  value       = one(google_service_networking_connection.services[*].id)
}
