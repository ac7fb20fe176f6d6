mock_provider "google" {}

variables {
  project_id           = "acme-jobs"
  cluster_name         = "cluster"
  location             = "europe-west4"
  accelerator          = "l4"
  max_nodes            = 2
  node_service_account = "nodes@acme-jobs.iam.gserviceaccount.com"
}

run "twins_from_zero" {
  command = plan

  assert {
    condition     = toset([for pool in google_container_node_pool.this : pool.name]) == toset(["l4x1-on-demand", "l4x1-spot"])
    error_message = "On demand and Spot by default."
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.initial_node_count == 0 && pool.autoscaling[0].total_min_node_count == 0 && pool.autoscaling[0].total_max_node_count == 2])
    error_message = "Empty while nobody works, and never more than max_nodes."
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.node_config[0].machine_type == "g2-standard-8" && pool.node_config[0].guest_accelerator[0].type == "nvidia-l4" && pool.node_config[0].guest_accelerator[0].count == 1])
    error_message = "One L4 a node."
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.node_config[0].guest_accelerator[0].gpu_driver_installation_config[0].gpu_driver_version == "LATEST" && pool.node_config[0].ephemeral_storage_local_ssd_config[0].local_ssd_count == 1])
    error_message = "GKE installs the driver; the model cache lies on local SSD."
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.management[0].auto_repair && pool.management[0].auto_upgrade])
    error_message = "Ordinary pools are repaired and upgraded."
  }
}

run "labels_and_taints_of_the_contract" {
  command = plan

  assert {
    condition     = output.pools["l4x1-on-demand"] == { labels = { "jobtuner.dev/pool" = "gpu", "jobtuner.dev/accelerator" = "l4" }, taints = [{ key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }] }
    error_message = "manifests/ select and tolerate exactly these."
  }

  assert {
    condition     = google_container_node_pool.this["on_demand"].node_config[0].taint == tolist([{ key = "nvidia.com/gpu", value = "present", effect = "NO_SCHEDULE" }])
    error_message = "The GPU taint is set explicitly, and alone."
  }

  assert {
    condition     = google_container_node_pool.this["spot"].node_config[0].spot && google_container_node_pool.this["spot"].node_config[0].taint[1] == { key = "jobtuner.dev/spot", value = "true", effect = "NO_SCHEDULE" }
    error_message = "The Spot twin has the Spot taint besides."
  }

  assert {
    condition     = !google_container_node_pool.this["on_demand"].node_config[0].spot && google_container_node_pool.this["on_demand"].node_config[0].labels == google_container_node_pool.this["spot"].node_config[0].labels
    error_message = "Twins have the same labels: a pod that tolerates both runs on either."
  }
}

run "queue_and_flex_start" {
  command = plan
  variables {
    accelerator    = "h100"
    gpus_per_node  = 8
    capacity       = ["flex_start", "queued"]
    flex_max_hours = 12
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.node_config[0].flex_start && !pool.node_config[0].spot && pool.node_config[0].max_run_duration == "43200s" && !pool.management[0].auto_repair])
    error_message = "12 hours × 3,600 s, never repaired, never Spot."
  }

  assert {
    condition     = length(google_container_node_pool.this["flex_start"].queued_provisioning) == 0 && google_container_node_pool.this["queued"].queued_provisioning[0].enabled
    error_message = "Only the queued pool is reserved for ProvisioningRequests."
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.node_config[0].reservation_affinity[0].consume_reservation_type == "NO_RESERVATION" && length(pool.upgrade_settings) == 0])
    error_message = "What GKE asks for with flex-start."
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.node_config[0].ephemeral_storage_local_ssd_config[0].local_ssd_count == 16])
    error_message = "a3-highgpu-8g has 16 local SSDs, whatever one asks."
  }
}

run "a100_without_local_ssd" {
  command = plan
  variables {
    accelerator   = "a100"
    gpus_per_node = 4
    local_ssd     = false
  }

  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : pool.node_config[0].machine_type == "a2-highgpu-4g" && length(pool.node_config[0].ephemeral_storage_local_ssd_config) == 0])
    error_message = "Four A100, no local SSD."
  }
}

run "small_h100_is_not_sold_on_demand" {
  command = plan
  variables {
    accelerator = "h100"
  }
  expect_failures = [google_container_node_pool.this["on_demand"]]
}

run "bad_values" {
  command = plan
  variables {
    accelerator    = "t4"
    gpus_per_node  = 1
    capacity       = ["reserved"]
    max_nodes      = 0
    driver_version = "550"
    flex_max_hours = 200
    disk_size_gb   = 20
  }
  expect_failures = [var.accelerator, var.capacity, var.max_nodes, var.driver_version, var.flex_max_hours, var.disk_size_gb]
}

run "bad_gpu_count" {
  command = plan
  variables {
    gpus_per_node = 3
  }
  expect_failures = [var.gpus_per_node]
}
