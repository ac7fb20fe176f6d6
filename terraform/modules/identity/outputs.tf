output "emails" {
  description = "E-mail of the service account by component: the value of the annotation iam.gke.io/gcp-service-account."
  value       = { for component, account in google_service_account.component : component => account.email }
  depends_on  = [google_service_account_iam_member.workload]
}

output "members" {
  description = "IAM member by component."
  value       = { for component, account in google_service_account.component : component => account.member }
}
