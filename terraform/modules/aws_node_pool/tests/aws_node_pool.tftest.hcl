mock_provider "aws" {}

# A group's Auto Scaling group is known after apply only; a mock would invent none.
override_resource {
  target = aws_eks_node_group.this
  values = { resources = [{ autoscaling_groups = [{ name = "eks-work" }] }] }
}

variables {
  cluster_name  = "cluster"
  subnet_ids    = ["subnet-a", "subnet-b"]
  pool          = "work"
  disk_key      = "arn:aws:kms:eu-central-1:123456789012:key/disks"
  node_role_arn = "arn:aws:iam::123456789012:role/nodes"
}

run "from_zero_and_untainted" {
  command = plan

  assert {
    condition     = aws_eks_node_group.this.scaling_config[0].min_size == 0 && aws_eks_node_group.this.scaling_config[0].desired_size == 0 && length(aws_eks_node_group.this.taint) == 0
    error_message = "A pool is empty while nobody works, and untainted on demand."
  }

  assert {
    condition     = aws_launch_template.this.metadata_options[0].http_tokens == "required" && aws_launch_template.this.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Pods cannot take the node's role."
  }

  assert {
    condition     = aws_launch_template.this.block_device_mappings[0].ebs[0].encrypted == "true" && aws_launch_template.this.block_device_mappings[0].ebs[0].kms_key_id == var.disk_key
    error_message = "Disks are encrypted with our key."
  }
}

run "spot_twin" {
  command = plan
  variables {
    spot = true
  }

  assert {
    condition     = aws_eks_node_group.this.node_group_name == "work-spot" && aws_eks_node_group.this.capacity_type == "SPOT" && one(aws_eks_node_group.this.taint).key == "jobtuner.dev/spot"
    error_message = "The twin is Spot, and says so by its taint."
  }

  assert {
    condition     = { for key, tag in aws_autoscaling_group_tag.template : key => tag.tag[0].value } == { "label/jobtuner.dev/pool" = "work", "taint/jobtuner.dev/spot" = "true:NoSchedule" }
    error_message = "The autoscaler knows label and taint of a group without nodes."
  }
}

run "minimum_above_maximum" {
  command = plan
  variables {
    min_nodes = 4
  }
  expect_failures = [aws_eks_node_group.this]
}

run "bad_values" {
  command = plan
  variables {
    pool         = "gpu"
    max_nodes    = 0
    disk_size_gb = 8
  }
  expect_failures = [var.pool, var.max_nodes, var.disk_size_gb]
}
