mock_provider "aws" {}

variables {
  region      = "eu-central-1"
  prefix      = "jobtuner-test"
  subnet_ids  = ["subnet-a", "subnet-b"]
  secrets_key = "arn:aws:kms:eu-central-1:123456789012:key/cluster"
  logs_key    = "arn:aws:kms:eu-central-1:123456789012:key/logs"
}

run "safe_by_default" {
  command = plan

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "The control plane is reached from the network only."
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == var.secrets_key && aws_cloudwatch_log_group.cluster.kms_key_id == var.logs_key
    error_message = "Kubernetes Secrets and logs are encrypted with our keys."
  }

  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5 && aws_eks_cluster.this.deletion_protection
    error_message = "All logs are on, and the cluster is protected."
  }

  assert {
    condition     = toset(keys(aws_eks_addon.this)) == toset(["vpc-cni", "kube-proxy", "eks-pod-identity-agent"]) && jsondecode(aws_eks_addon.this["vpc-cni"].configuration_values).enableNetworkPolicy == "true"
    error_message = "What nodes need from the first minute, network policies enforced."
  }

  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && aws_eks_cluster.this.upgrade_policy[0].support_type == "STANDARD"
    error_message = "Access by IAM alone, and no extended support."
  }
}

run "named_networks_and_admins" {
  command = plan
  variables {
    authorized_networks = ["203.0.113.0/24"]
    admins              = { platform = "arn:aws:iam::123456789012:role/platform" }
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "Exactly the named network."
  }

  assert {
    condition     = aws_eks_access_entry.admin["platform"].principal_arn == "arn:aws:iam::123456789012:role/platform"
    error_message = "The named role administers the cluster."
  }
}

run "never_the_whole_world" {
  command = plan
  variables {
    authorized_networks = ["0.0.0.0/0"]
    admins              = { me = "me" }
    kubernetes_version  = "latest"
    log_days            = 2
  }
  expect_failures = [var.authorized_networks, var.admins, var.kubernetes_version, var.log_days]
}
