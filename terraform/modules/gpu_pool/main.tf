# GPU nodes of one kind, from zero. Each way of buying them is a pool of its own, twins in all else:
#   on_demand   starts when Google has one, stays as long as it is needed
#   spot        cheapest, gone at 30 seconds' notice; tainted, for training that resumes and for spare replicas
#   flex_start  waits until a node is free, then keeps it for up to seven days
#   queued      flex_start for jobs of several nodes: all at once or none (ProvisioningRequest API, as Kueue makes them)

module "contract" {
  source = "../contract"
}

locals {
  # GPUs a node → machine type and local SSDs (375 GB each). G2 and A2 take as many as are asked for, up to these; A3 always
  # has these. From memory of Compute Engine's documentation: compare before the first apply.
  profiles = {
    l4 = {
      type = "nvidia-l4"
      machines = {
        1 = { name = "g2-standard-8", ssds = 1 }
        2 = { name = "g2-standard-24", ssds = 2 }
        4 = { name = "g2-standard-48", ssds = 4 }
        8 = { name = "g2-standard-96", ssds = 8 }
      }
    }
    a100 = {
      type = "nvidia-tesla-a100" # 40 GB
      machines = {
        1 = { name = "a2-highgpu-1g", ssds = 1 }
        2 = { name = "a2-highgpu-2g", ssds = 2 }
        4 = { name = "a2-highgpu-4g", ssds = 4 }
        8 = { name = "a2-highgpu-8g", ssds = 8 }
      }
    }
    h100 = {
      type = "nvidia-h100-80gb"
      machines = {
        1 = { name = "a3-highgpu-1g", ssds = 2 }
        2 = { name = "a3-highgpu-2g", ssds = 4 }
        4 = { name = "a3-highgpu-4g", ssds = 8 }
        8 = { name = "a3-highgpu-8g", ssds = 16 }
      }
    }
  }
  profile = local.profiles[var.accelerator]
  machine = local.profile.machines[var.gpus_per_node]
  ssds    = var.local_ssd || var.accelerator == "h100" ? local.machine.ssds : 0

  # In what the ways of buying differ. A flex-start node is never repaired: it would be a new place in the queue, and GKE
  # refuses auto_repair there.
  capacities = {
    on_demand  = { spot = false, flex = false, queued = false, repair = true, taints = [module.contract.taints.gpu] }
    spot       = { spot = true, flex = false, queued = false, repair = true, taints = [module.contract.taints.gpu, module.contract.taints.spot] }
    flex_start = { spot = false, flex = true, queued = false, repair = false, taints = [module.contract.taints.gpu] }
    queued     = { spot = false, flex = true, queued = true, repair = false, taints = [module.contract.taints.gpu] }
  }

  labels = {
    (module.contract.node_labels.pool.key)        = "gpu"
    (module.contract.node_labels.accelerator.key) = var.accelerator
  }
  # Kubernetes writes NoSchedule, Google's API NO_SCHEDULE.
  effects = { NoSchedule = "NO_SCHEDULE", PreferNoSchedule = "PREFER_NO_SCHEDULE", NoExecute = "NO_EXECUTE" }
}

resource "google_container_node_pool" "this" {
  for_each = var.capacity

  project            = var.project_id
  cluster            = var.cluster_name
  location           = var.location
  node_locations     = length(var.zones) == 0 ? null : var.zones
  name               = "${var.accelerator}x${var.gpus_per_node}-${replace(each.key, "_", "-")}"
  initial_node_count = 0

  autoscaling {
    location_policy      = "ANY" # where there is one: GPUs are scarce, balance between zones is worth nothing here
    total_min_node_count = 0
    total_max_node_count = var.max_nodes
  }

  management {
    auto_repair  = local.capacities[each.key].repair
    auto_upgrade = true
  }

  # Surge would need a spare GPU; one node at a time goes down instead.
  dynamic "upgrade_settings" {
    for_each = local.capacities[each.key].flex ? [] : [1]

    content {
      strategy        = "SURGE"
      max_surge       = 0
      max_unavailable = 1
    }
  }

  dynamic "queued_provisioning" {
    for_each = local.capacities[each.key].queued ? [1] : []

    content {
      enabled = true
    }
  }

  node_config {
    machine_type      = local.machine.name
    image_type        = "COS_CONTAINERD"
    spot              = local.capacities[each.key].spot
    flex_start        = local.capacities[each.key].flex
    max_run_duration  = local.capacities[each.key].flex ? "${var.flex_max_hours * 3600}s" : null
    service_account   = var.node_service_account
    oauth_scopes      = ["https://www.googleapis.com/auth/cloud-platform"] # what the account may do is up to IAM
    disk_type         = var.accelerator == "h100" ? "pd-ssd" : "pd-balanced"
    disk_size_gb      = var.disk_size_gb
    boot_disk_kms_key = var.disk_key
    labels            = local.labels
    resource_labels   = var.labels
    metadata          = { "disable-legacy-endpoints" = "true" }

    guest_accelerator {
      type  = local.profile.type
      count = var.gpus_per_node

      gpu_driver_installation_config {
        gpu_driver_version = var.driver_version
      }
    }

    # GKE sets the GPU taint by itself only where the cluster has other pools; stated here, it is there always.
    dynamic "taint" {
      for_each = local.capacities[each.key].taints

      content {
        key    = taint.value.key
        value  = taint.value.value
        effect = local.effects[taint.value.effect]
      }
    }

    # emptyDir volumes and images lie on local SSD: a 15 GB model loads from there in seconds, and from the network once a node.
    dynamic "ephemeral_storage_local_ssd_config" {
      for_each = local.ssds == 0 ? [] : [local.ssds]

      content {
        local_ssd_count = ephemeral_storage_local_ssd_config.value
      }
    }

    dynamic "reservation_affinity" {
      for_each = local.capacities[each.key].flex ? [1] : []

      content {
        consume_reservation_type = "NO_RESERVATION" # GKE asks for it with flex-start
      }
    }

    shielded_instance_config {
      enable_secure_boot          = true # the drivers that GKE installs are signed
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    # Image streaming: vLLM's image has some 10 GB, of which a start reads a part.
    gcfs_config {
      enabled = true
    }

    gvnic {
      enabled = true
    }

    kubelet_config {
      insecure_kubelet_readonly_port_enabled = "FALSE"
    }
  }

  lifecycle {
    ignore_changes = [initial_node_count]

    precondition {
      condition     = each.key != "on_demand" || var.accelerator != "h100" || var.gpus_per_node == 8
      error_message = "${local.machine.name} cannot be had on demand: Google sells A3 nodes with fewer than 8 GPUs as spot and flex_start only. Remove on_demand from capacity, or set gpus_per_node = 8."
    }
  }
}
