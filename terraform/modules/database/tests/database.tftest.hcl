mock_provider "google" {}
# random needs no account, and Terraform cannot mock its ephemeral password: the provider itself runs.

variables {
  project_id                  = "acme-jobs"
  region                      = "europe-west4"
  prefix                      = "jobtuner-test"
  network_id                  = "network"
  private_services_connection = "peering"
  key                         = "key"
}

run "private_encrypted_backed_up" {
  command = plan

  assert {
    condition     = !google_sql_database_instance.mlflow.settings[0].ip_configuration[0].ipv4_enabled && google_sql_database_instance.mlflow.settings[0].ip_configuration[0].ssl_mode == "ENCRYPTED_ONLY"
    error_message = "No public address, no connection without TLS."
  }

  assert {
    condition     = google_sql_database_instance.mlflow.encryption_key_name == "key" && google_sql_database_instance.mlflow.deletion_protection && google_sql_database_instance.mlflow.settings[0].deletion_protection_enabled
    error_message = "Encrypted with our key, and protected twice: against Terraform and against the console."
  }

  assert {
    condition     = google_sql_database_instance.mlflow.settings[0].backup_configuration[0].point_in_time_recovery_enabled && google_sql_database_instance.mlflow.settings[0].availability_type == "ZONAL"
    error_message = "Backed up to the minute; a standby costs, so it is a switch."
  }

  assert {
    condition     = google_sql_user.mlflow.password == null
    error_message = "The password is in no plan and no state."
  }
}

run "without_peering" {
  command = plan
  variables {
    private_services_connection = null
  }
  expect_failures = [google_sql_database_instance.mlflow]
}

run "bad_values" {
  command = plan
  variables {
    tier    = "n2-standard-4"
    backups = 0
  }
  expect_failures = [var.tier, var.backups]
}
