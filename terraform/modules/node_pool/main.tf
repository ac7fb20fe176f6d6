# A pool of CPU nodes: `system` for what always runs, `work` for pipeline tasks.

module "contract" {
  source = "../contract"
}

locals {
  # Spot nodes vanish within 30 seconds of a notice: only pods that say that they can bear it may run there.
  taints = var.spot ? [module.contract.taints.spot] : []
  labels = { (module.contract.node_labels.pool.key) = var.pool }
}

resource "google_container_node_pool" "this" {
  project            = var.project_id
  cluster            = var.cluster_name
  location           = var.location
  node_locations     = length(var.zones) == 0 ? null : var.zones
  name               = var.spot ? "${var.pool}-spot" : var.pool
  initial_node_count = min(1, var.min_nodes) # a zone; the autoscaler then gives back what is not needed

  # "total": min_nodes and max_nodes count the whole pool; the other form counts each of three zones.
  autoscaling {
    location_policy      = "ANY"
    total_min_node_count = var.min_nodes
    total_max_node_count = var.max_nodes
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = 1
    max_unavailable = 0
  }

  node_config {
    machine_type      = var.machine_type
    image_type        = "COS_CONTAINERD"
    spot              = var.spot
    service_account   = var.node_service_account
    oauth_scopes      = ["https://www.googleapis.com/auth/cloud-platform"] # what the account may do is up to IAM
    disk_type         = "pd-balanced"
    disk_size_gb      = var.disk_size_gb
    boot_disk_kms_key = var.disk_key
    labels            = local.labels
    resource_labels   = var.labels
    metadata          = { "disable-legacy-endpoints" = "true" }

    dynamic "taint" {
      for_each = local.taints

      content {
        key    = taint.value.key
        value  = taint.value.value
        effect = local.effects[taint.value.effect]
      }
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    # Image streaming: a pod starts while its image is still being loaded.
    gcfs_config {
      enabled = true
    }

    kubelet_config {
      insecure_kubelet_readonly_port_enabled = "FALSE"
    }
  }

  lifecycle {
    # The autoscaler changes it; initial_node_count alone would ask for a new pool.
    ignore_changes = [initial_node_count]

    precondition {
      condition     = var.min_nodes <= var.max_nodes
      error_message = "Pool ${var.pool}: min_nodes is ${var.min_nodes} and max_nodes is ${var.max_nodes}; min_nodes must not be larger."
    }
  }
}

locals {
  # Kubernetes writes NoSchedule, Google's API NO_SCHEDULE.
  effects = { NoSchedule = "NO_SCHEDULE", PreferNoSchedule = "PREFER_NO_SCHEDULE", NoExecute = "NO_EXECUTE" }
}
