# A pool of CPU nodes: `system` for what always runs, `work` for pipeline tasks.

module "contract" {
  source = "../contract"
}

locals {
  name = var.spot ? "${var.pool}-spot" : var.pool
  # Spot nodes vanish two minutes after a notice: only pods that say that they can bear it may run there.
  taints = var.spot ? [module.contract.taints.spot] : []
  labels = { (module.contract.node_labels.pool.key) = var.pool }
  # Kubernetes writes NoSchedule, AWS NO_SCHEDULE.
  effects = { NoSchedule = "NO_SCHEDULE", PreferNoSchedule = "PREFER_NO_SCHEDULE", NoExecute = "NO_EXECUTE" }
}

resource "aws_launch_template" "this" {
  name_prefix = "${var.cluster_name}-${local.name}-"

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

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.cluster_name}-${local.name}" }
  }
}

resource "aws_eks_node_group" "this" {
  cluster_name    = var.cluster_name
  node_group_name = local.name
  node_role_arn   = var.node_role_arn
  subnet_ids      = var.subnet_ids
  ami_type        = "AL2023_x86_64_STANDARD"
  instance_types  = var.instance_types
  capacity_type   = var.spot ? "SPOT" : "ON_DEMAND"
  labels          = local.labels

  scaling_config {
    min_size     = var.min_nodes
    max_size     = var.max_nodes
    desired_size = var.min_nodes
  }

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  update_config {
    max_unavailable = 1
  }

  node_repair_config {
    enabled = true
  }

  dynamic "taint" {
    for_each = local.taints

    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = local.effects[taint.value.effect]
    }
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the autoscaler's affair

    precondition {
      condition     = var.min_nodes <= var.max_nodes
      error_message = "Pool ${var.pool}: min_nodes is ${var.min_nodes} and max_nodes is ${var.max_nodes}; min_nodes must not be larger."
    }
  }
}

# An empty group has no node to look at: the autoscaler reads from these what a new one would be like.
resource "aws_autoscaling_group_tag" "template" {
  for_each = merge(
    { for key, value in local.labels : "label/${key}" => value },
    { for taint in local.taints : "taint/${taint.key}" => "${taint.value}:${taint.effect}" },
  )

  autoscaling_group_name = aws_eks_node_group.this.resources[0].autoscaling_groups[0].name

  tag {
    key                 = "k8s.io/cluster-autoscaler/node-template/${each.key}"
    value               = each.value
    propagate_at_launch = false
  }
}
