mock_provider "google" {}

variables {
  project_id           = "acme-jobs"
  cluster_name         = "cluster"
  location             = "europe-west4"
  pool                 = "work"
  node_service_account = "nodes@acme-jobs.iam.gserviceaccount.com"
}

run "from_zero_and_untainted" {
  command = plan

  assert {
    condition     = google_container_node_pool.this.autoscaling[0].total_min_node_count == 0 && google_container_node_pool.this.initial_node_count == 0
    error_message = "A pool is empty while nobody works."
  }

  assert {
    condition     = output.pools["work"].labels == { "jobtuner.dev/pool" = "work" } && length(output.pools["work"].taints) == 0 && length(google_container_node_pool.this.node_config[0].taint) == 0
    error_message = "An on-demand pool has its label and no taint."
  }

  assert {
    condition     = google_container_node_pool.this.node_config[0].shielded_instance_config[0].enable_secure_boot && google_container_node_pool.this.node_config[0].workload_metadata_config[0].mode == "GKE_METADATA"
    error_message = "Secure boot, and no way to the node's own identity."
  }
}

run "spot_twin_differs_in_price_name_and_taint" {
  command = plan
  variables {
    spot = true
  }

  assert {
    condition     = google_container_node_pool.this.name == "work-spot" && google_container_node_pool.this.node_config[0].spot
    error_message = "The twin is a pool of its own."
  }

  assert {
    condition     = google_container_node_pool.this.node_config[0].labels["jobtuner.dev/pool"] == "work" && one(google_container_node_pool.this.node_config[0].taint) == { key = "jobtuner.dev/spot", value = "true", effect = "NO_SCHEDULE" }
    error_message = "Same label, and the Spot taint."
  }
}

run "system_pool_has_its_minimum" {
  command = plan
  variables {
    pool      = "system"
    min_nodes = 1
  }

  assert {
    condition     = google_container_node_pool.this.autoscaling[0].total_min_node_count == 1
    error_message = "The minimum counts all zones together."
  }
}

run "minimum_above_maximum" {
  command = plan
  variables {
    min_nodes = 4
    max_nodes = 3
  }
  expect_failures = [google_container_node_pool.this]
}

run "bad_values" {
  command = plan
  variables {
    pool         = "gpu"
    max_nodes    = 1.5
    disk_size_gb = 10
  }
  expect_failures = [var.pool, var.max_nodes, var.disk_size_gb]
}
