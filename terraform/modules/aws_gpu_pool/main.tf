# GPU nodes of one kind, from zero, as twins: on_demand, and spot, which is tainted for what can bear an interruption.

module "contract" {
  source = "../contract"
}

locals {
  # GPUs a node → instance type, from memory of the EC2 documentation: compare before the first apply. Others do not exist.
  machines = {
    l4   = { 1 = "g6.2xlarge", 4 = "g6.12xlarge", 8 = "g6.48xlarge" }
    a100 = { 8 = "p4d.24xlarge" }
    h100 = { 1 = "p5.4xlarge", 8 = "p5.48xlarge" }
  }
  sizes   = local.machines[var.accelerator]
  machine = lookup(local.sizes, var.gpus_per_node, null)

  capacities = {
    on_demand = { type = "ON_DEMAND", taints = [module.contract.taints.gpu] }
    spot      = { type = "SPOT", taints = [module.contract.taints.gpu, module.contract.taints.spot] }
  }
  names = { for capacity in var.capacity : capacity => "${var.accelerator}x${var.gpus_per_node}-${replace(capacity, "_", "-")}" }

  labels = {
    (module.contract.node_labels.pool.key)        = "gpu"
    (module.contract.node_labels.accelerator.key) = var.accelerator
  }
  # The cluster autoscaler knows by this label that a new node's GPU is still to come; without it, it would start a second one.
  autoscaler_label = { "k8s.amazonaws.com/accelerator" = "nvidia-${var.accelerator}" }
  # Kubernetes writes NoSchedule, AWS NO_SCHEDULE.
  effects = { NoSchedule = "NO_SCHEDULE", PreferNoSchedule = "PREFER_NO_SCHEDULE", NoExecute = "NO_EXECUTE" }

  # An empty group has no node to look at: the autoscaler reads from these tags what a new one would be like.
  templates = merge([
    for capacity in var.capacity : merge(
      { for key, value in merge(local.labels, local.autoscaler_label) : "${capacity}/label/${key}" => value },
      { for taint in local.capacities[capacity].taints : "${capacity}/taint/${taint.key}" => "${taint.value}:${taint.effect}" },
      { "${capacity}/resources/${module.contract.taints.gpu.key}" = tostring(var.gpus_per_node) },
    )
  ]...)
}

resource "aws_launch_template" "this" {
  name_prefix = "${var.cluster_name}-${var.accelerator}x${var.gpus_per_node}-"

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = var.disk_size_gb
      encrypted             = true
      kms_key_id            = var.disk_key
      delete_on_termination = true
    }
  }

  # One hop: a pod (two hops away) cannot take the node's role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # All instance types above have NVMe disks of their own. As one RAID 0 they hold images and emptyDir volumes: a 15 GB model
  # loads from there in seconds.
  user_data = base64encode(<<-DATA
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary="//"

    --//
    Content-Type: application/node.eks.aws

    apiVersion: node.eks.aws/v1alpha1
    kind: NodeConfig
    spec:
      instance:
        localStorage:
          strategy: RAID0

    --//--
  DATA
  )

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.cluster_name}-${var.accelerator}" }
  }
}

resource "aws_eks_node_group" "this" {
  for_each = local.names

  cluster_name    = var.cluster_name
  node_group_name = each.value
  node_role_arn   = var.node_role_arn
  subnet_ids      = var.subnet_ids
  ami_type        = "AL2023_x86_64_NVIDIA" # driver and container toolkit are in it
  instance_types  = [local.machine]
  capacity_type   = local.capacities[each.key].type
  labels          = merge(local.labels, local.autoscaler_label)

  scaling_config {
    min_size     = 0
    max_size     = var.max_nodes
    desired_size = 0
  }

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  update_config {
    max_unavailable = 1
  }

  node_repair_config {
    enabled = true # also acts on a GPU that has failed
  }

  dynamic "taint" {
    for_each = local.capacities[each.key].taints

    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = local.effects[taint.value.effect]
    }
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the autoscaler's affair

    precondition {
      condition     = local.machine != null
      error_message = "AWS has no instance with ${var.gpus_per_node} × ${var.accelerator}; accepted for gpus_per_node are ${join(", ", keys(local.sizes))}."
    }
  }
}

resource "aws_autoscaling_group_tag" "template" {
  for_each = local.templates

  autoscaling_group_name = aws_eks_node_group.this[split("/", each.key)[0]].resources[0].autoscaling_groups[0].name

  tag {
    key                 = "k8s.io/cluster-autoscaler/node-template/${trimprefix(each.key, "${split("/", each.key)[0]}/")}"
    value               = each.value
    propagate_at_launch = false
  }
}
