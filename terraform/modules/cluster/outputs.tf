output "name" {
  description = "Name of the cluster."
  value       = google_container_cluster.this.name
}

output "location" {
  description = "Region of the cluster."
  value       = google_container_cluster.this.location
}

output "workload_pool" {
  description = "Workload Identity pool; known once the cluster, and so the pool, is there."
  value       = one(google_container_cluster.this.workload_identity_config[*].workload_pool)
}

output "node_service_account" {
  description = "E-mail of the service account that nodes run as."
  value       = google_service_account.nodes.email
  depends_on  = [google_project_iam_member.nodes]
}

output "connect_command" {
  description = "What gives kubectl access."
  value       = "gcloud container clusters get-credentials ${google_container_cluster.this.name} --region ${google_container_cluster.this.location} --project ${var.project_id}${var.dns_endpoint ? " --dns-endpoint" : ""}"
}
