# GKE Standard: regional, private, on a release channel, with Workload Identity, Shielded Nodes, Dataplane V2 and encrypted
# Kubernetes Secrets. It has no nodes: pools are modules of their own.

locals {
  # container.defaultNodeServiceAccount lets a node write its logs and metrics, and nothing else.
  # Pods have identities of their own (module identity), and cannot reach the node's.
  node_roles = toset(["roles/container.defaultNodeServiceAccount", "roles/artifactregistry.reader"])
}

resource "google_service_account" "nodes" {
  project      = var.project_id
  account_id   = "${var.prefix}-nodes"
  display_name = "JobTuner: GKE nodes"
}

resource "google_project_iam_member" "nodes" {
  for_each = local.node_roles

  project = var.project_id
  role    = each.value
  member  = google_service_account.nodes.member
}

resource "google_container_cluster" "this" {
  project             = var.project_id
  name                = "${var.prefix}-cluster"
  location            = var.region # regional: three replicas of the control plane, at the price of one
  node_locations      = var.zones
  deletion_protection = var.deletion_protection
  resource_labels     = var.labels

  network         = var.network_id
  subnetwork      = var.subnetwork_id
  networking_mode = "VPC_NATIVE"
  # Dataplane V2: network policies are enforced in the kernel, with no add-on to install.
  datapath_provider           = "ADVANCED_DATAPATH"
  enable_intranode_visibility = true
  enable_shielded_nodes       = true

  # GKE insists on a first pool, which goes at once: every pool is a module call of its own. The settings below are for the
  # minutes in which it lives.
  remove_default_node_pool = true
  initial_node_count       = 1

  node_config {
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }

  # Calico, the add-on that Dataplane V2 makes needless.
  network_policy {
    enabled = false
  }

  ip_allocation_policy {
    cluster_secondary_range_name  = var.range_names.pods
    services_secondary_range_name = var.range_names.services
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.authorized_networks) == 0
  }

  # The block closes the address to all but these; without the block it would be open to all.
  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled = false

    dynamic "cidr_blocks" {
      for_each = var.authorized_networks

      content {
        display_name = cidr_blocks.key
        cidr_block   = cidr_blocks.value
      }
    }
  }

  # A name instead of an address: IAM decides who may connect (container.clusters.connect), so no bastion host is needed.
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = var.dns_endpoint
    }
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  workload_identity_config {
    workload_pool = "${var.project_id}.svc.id.goog"
  }

  # Kubernetes Secrets are encrypted with our key before they reach etcd.
  database_encryption {
    state    = "ENCRYPTED"
    key_name = var.secrets_key
  }

  binary_authorization {
    evaluation_mode = "PROJECT_SINGLETON_POLICY_ENFORCE"
  }

  dynamic "authenticator_groups_config" {
    for_each = var.security_group == null ? [] : [var.security_group]

    content {
      security_group = authenticator_groups_config.value
    }
  }

  release_channel {
    channel = var.release_channel
  }

  maintenance_policy {
    recurring_window {
      start_time = var.maintenance_window.start
      end_time   = var.maintenance_window.end
      recurrence = var.maintenance_window.recurrence
    }

    dynamic "maintenance_exclusion" {
      for_each = var.maintenance_exclusions

      content {
        exclusion_name = maintenance_exclusion.key
        start_time     = maintenance_exclusion.value.start
        end_time       = maintenance_exclusion.value.end

        exclusion_options {
          scope = maintenance_exclusion.value.scope
        }
      }
    }
  }

  # OPTIMIZE_UTILIZATION packs pods tightly and gives empty nodes back sooner: an idle GPU is the dearest thing here.
  cluster_autoscaling {
    autoscaling_profile = "OPTIMIZE_UTILIZATION"
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }

  # manifests/ brings a Prometheus of its own; Google's is charged by the sample, so it is a switch.
  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS"]

    managed_prometheus {
      enabled = var.managed_prometheus
    }
  }

  addons_config {
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }

    gcs_fuse_csi_driver_config {
      enabled = true
    }

    dns_cache_config {
      enabled = true
    }
  }

  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }

  # Shows the cost of each namespace in the bill.
  cost_management_config {
    enabled = true
  }

  security_posture_config {
    mode = "BASIC"
  }

  node_pool_defaults {
    node_config_defaults {
      insecure_kubelet_readonly_port_enabled = "FALSE"
    }
  }

  lifecycle {
    # The first pool is gone, so what it looked like must not matter to a later plan.
    ignore_changes = [node_config, initial_node_count]
  }

  depends_on = [google_project_iam_member.nodes]
}
