# PostgreSQL for MLflow, in place of the one that manifests/ runs in the cluster: backups, failover and upgrades are Google's.

resource "google_sql_database_instance" "mlflow" {
  project             = var.project_id
  region              = var.region
  name                = "${var.prefix}-mlflow"
  database_version    = "POSTGRES_18"
  encryption_key_name = var.key
  deletion_protection = var.deletion_protection

  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.tier
    availability_type           = var.high_availability ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = 10 # GB, the least; MLflow's tables are small, its artifacts lie in a bucket
    disk_autoresize             = true
    disk_autoresize_limit       = 100
    deletion_protection_enabled = var.deletion_protection
    user_labels                 = var.labels

    ip_configuration {
      ipv4_enabled    = false # no public address
      private_network = var.network_id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = var.backups
      }
    }

    # Sunday, 03:00 UTC: after the backup.
    maintenance_window {
      day          = 7
      hour         = 3
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
    }

    # What PostgreSQL writes to its log. Of statements only those that change tables: others hold parameters of runs.
    database_flags {
      name  = "cloudsql.enable_pgaudit"
      value = "on"
    }

    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }

    database_flags {
      name  = "log_connections"
      value = "on"
    }

    database_flags {
      name  = "log_disconnections"
      value = "on"
    }

    database_flags {
      name  = "log_duration"
      value = "on"
    }

    database_flags {
      name  = "log_hostname"
      value = "on"
    }

    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    database_flags {
      name  = "log_min_duration_statement"
      value = "-1"
    }

    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }

    database_flags {
      name  = "log_min_messages"
      value = "warning"
    }

    database_flags {
      name  = "log_statement"
      value = "ddl"
    }
  }

  lifecycle {
    precondition {
      condition     = var.private_services_connection != null
      error_message = "The database needs a peering of the network: set private_services = true in the module network."
    }
  }
}

resource "google_sql_database" "mlflow" {
  project  = var.project_id
  instance = google_sql_database_instance.mlflow.name
  name     = "mlflow"
}

# An ephemeral password and write-only arguments: it reaches the database and Secret Manager, and neither plan nor state.
# Both are written in the same apply; should one of the two fail, raise password_version and apply again.
ephemeral "random_password" "mlflow" {
  length  = 32
  special = false # it becomes part of a database URL
}

resource "google_sql_user" "mlflow" {
  project             = var.project_id
  instance            = google_sql_database_instance.mlflow.name
  name                = "mlflow"
  password_wo         = ephemeral.random_password.mlflow.result
  password_wo_version = var.password_version
}

resource "google_secret_manager_secret" "password" {
  project   = var.project_id
  secret_id = "${var.prefix}-mlflow-database"
  labels    = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}

resource "google_secret_manager_secret_version" "password" {
  secret                 = google_secret_manager_secret.password.id
  secret_data_wo         = ephemeral.random_password.mlflow.result
  secret_data_wo_version = var.password_version
}
