output "host" {
  description = "Private address of the database."
  value       = google_sql_database_instance.mlflow.private_ip_address
}

output "password_secret" {
  description = "Secret Manager's id of the password of the user mlflow."
  value       = google_secret_manager_secret.password.secret_id
}
