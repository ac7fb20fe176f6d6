mock_provider "aws" {}

# A group's Auto Scaling group is known after apply only; a mock would invent none.
override_resource {
  target = aws_eks_node_group.this
  values = { resources = [{ autoscaling_groups = [{ name = "eks-gpu" }] }] }
}

variables {
  cluster_name  = "cluster"
  subnet_ids    = ["subnet-a", "subnet-b"]
  accelerator   = "l4"
  max_nodes     = 2
  disk_key      = "arn:aws:kms:eu-central-1:123456789012:key/disks"
  node_role_arn = "arn:aws:iam::123456789012:role/nodes"
}

run "twins_from_zero" {
  command = plan

  assert {
    condition     = { for capacity, group in aws_eks_node_group.this : capacity => [group.node_group_name, group.capacity_type] } == { on_demand = ["l4x1-on-demand", "ON_DEMAND"], spot = ["l4x1-spot", "SPOT"] }
    error_message = "On demand and Spot by default."
  }

  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : group.scaling_config[0].min_size == 0 && group.scaling_config[0].desired_size == 0 && group.scaling_config[0].max_size == 2])
    error_message = "Empty while nobody works, and never more than max_nodes."
  }

  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : group.ami_type == "AL2023_x86_64_NVIDIA" && group.instance_types == tolist(["g6.2xlarge"])])
    error_message = "One L4 a node, with its driver."
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.this.user_data), "strategy: RAID0")
    error_message = "The model cache lies on the node's own NVMe disks."
  }
}

run "labels_and_taints_of_the_contract" {
  command = plan

  assert {
    condition     = output.pools["l4x1-on-demand"] == { labels = { "jobtuner.dev/pool" = "gpu", "jobtuner.dev/accelerator" = "l4" }, taints = [{ key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }] }
    error_message = "manifests/ select and tolerate exactly these, on both clouds."
  }

  assert {
    condition     = toset([for taint in aws_eks_node_group.this["spot"].taint : "${taint.key}=${taint.value}:${taint.effect}"]) == toset(["nvidia.com/gpu=present:NO_SCHEDULE", "jobtuner.dev/spot=true:NO_SCHEDULE"])
    error_message = "The Spot twin has both taints."
  }

  assert {
    condition     = aws_autoscaling_group_tag.template["spot/resources/nvidia.com/gpu"].tag[0].key == "k8s.io/cluster-autoscaler/node-template/resources/nvidia.com/gpu" && aws_autoscaling_group_tag.template["spot/resources/nvidia.com/gpu"].tag[0].value == "1"
    error_message = "The autoscaler knows of the GPU in a group without nodes."
  }

  assert {
    condition     = aws_autoscaling_group_tag.template["on_demand/taint/nvidia.com/gpu"].tag[0].value == "present:NoSchedule" && aws_eks_node_group.this["on_demand"].labels["k8s.amazonaws.com/accelerator"] == "nvidia-l4"
    error_message = "And of its taint; and that the GPU appears only some time after the node."
  }
}

run "size_that_does_not_exist" {
  command = plan
  variables {
    accelerator = "a100"
  }
  expect_failures = [aws_eks_node_group.this["on_demand"], aws_eks_node_group.this["spot"]]
}

run "bad_values" {
  command = plan
  variables {
    accelerator  = "t4"
    capacity     = ["queued"]
    max_nodes    = 0
    disk_size_gb = 20
  }
  expect_failures = [var.accelerator, var.capacity, var.max_nodes, var.disk_size_gb]
}
