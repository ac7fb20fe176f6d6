mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = { email = "nodes@acme-jobs.iam.gserviceaccount.com", member = "serviceAccount:nodes@acme-jobs.iam.gserviceaccount.com" }
  }
}

variables {
  project_id    = "acme-jobs"
  region        = "europe-west4"
  prefix        = "jobtuner-test"
  network_id    = "network"
  subnetwork_id = "subnetwork"
  range_names   = { pods = "pods", services = "services" }
  secrets_key   = "key"
}

run "safe_by_default" {
  command = plan

  assert {
    condition     = google_container_cluster.this.private_cluster_config[0].enable_private_nodes && google_container_cluster.this.private_cluster_config[0].enable_private_endpoint
    error_message = "Nodes and the control plane's address are private."
  }

  assert {
    condition     = google_container_cluster.this.database_encryption[0].key_name == "key" && google_container_cluster.this.database_encryption[0].state == "ENCRYPTED"
    error_message = "Kubernetes Secrets are encrypted with our key."
  }

  assert {
    condition     = google_container_cluster.this.datapath_provider == "ADVANCED_DATAPATH" && google_container_cluster.this.enable_shielded_nodes
    error_message = "Dataplane V2 enforces network policies, on Shielded Nodes."
  }

  assert {
    condition     = google_container_cluster.this.workload_identity_config[0].workload_pool == "acme-jobs.svc.id.goog"
    error_message = "Workload Identity is on."
  }

  assert {
    condition     = google_container_cluster.this.deletion_protection && google_container_cluster.this.release_channel[0].channel == "REGULAR"
    error_message = "The cluster is protected, and upgraded by the REGULAR channel."
  }

  assert {
    condition     = google_container_cluster.this.location == "europe-west4" && google_container_cluster.this.cluster_autoscaling[0].autoscaling_profile == "OPTIMIZE_UTILIZATION"
    error_message = "The control plane is regional, and empty nodes go soon."
  }

  assert {
    condition     = !google_container_cluster.this.monitoring_config[0].managed_prometheus[0].enabled && google_container_cluster.this.master_auth[0].client_certificate_config[0].issue_client_certificate == false
    error_message = "Google's Prometheus is a switch that is off, and there are no client certificates."
  }

  assert {
    condition     = toset([for grant in google_project_iam_member.nodes : grant.role]) == toset(["roles/container.defaultNodeServiceAccount", "roles/artifactregistry.reader"])
    error_message = "Nodes may write logs and metrics and pull images, nothing else."
  }
}

run "named_networks_open_the_address_to_them" {
  command = plan
  variables {
    authorized_networks = { office = "203.0.113.0/24" }
    maintenance_exclusions = {
      training = { start = "2026-03-01T00:00:00Z", end = "2026-03-08T00:00:00Z" }
    }
  }

  assert {
    condition     = !google_container_cluster.this.private_cluster_config[0].enable_private_endpoint && one(google_container_cluster.this.master_authorized_networks_config[0].cidr_blocks).cidr_block == "203.0.113.0/24"
    error_message = "Exactly the named network reaches the address."
  }

  assert {
    condition     = one(google_container_cluster.this.maintenance_policy[0].maintenance_exclusion).exclusion_options[0].scope == "NO_MINOR_OR_NODE_UPGRADES"
    error_message = "An exclusion keeps nodes, and so a training run, as they are."
  }
}

run "never_the_whole_world" {
  command = plan
  variables {
    authorized_networks = { everybody = "0.0.0.0/0" }
    region              = "europe-west4-a"
    release_channel     = "FAST"
    security_group      = "admins@example.com"
    maintenance_window  = { start = "2026-01-03T07:00:00Z", end = "2026-01-03T01:00:00Z", recurrence = "FREQ=DAILY" }
  }
  expect_failures = [var.authorized_networks, var.region, var.release_channel, var.security_group, var.maintenance_window]
}
