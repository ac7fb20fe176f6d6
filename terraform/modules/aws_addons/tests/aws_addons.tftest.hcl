mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}
mock_provider "helm" {}

variables {
  region       = "eu-central-1"
  prefix       = "jobtuner-test"
  cluster_name = "jobtuner-test-cluster"
  disk_key     = "arn:aws:kms:eu-central-1:123456789012:key/disks"
}

run "what_gke_brings_along" {
  command = plan

  assert {
    condition     = toset(keys(aws_eks_addon.this)) == toset(["coredns", "metrics-server"]) && yamldecode(helm_release.storage_class.values[0]).key == var.disk_key
    error_message = "DNS, metrics, and a default storage class that encrypts with our key."
  }

  assert {
    condition     = yamldecode(helm_release.gpus.values[0]).nodeSelector == { "jobtuner.dev/pool" = "gpu" } && toset(yamldecode(helm_release.gpus.values[0]).tolerations[*].key) == toset(["nvidia.com/gpu", "jobtuner.dev/spot"])
    error_message = "The device plug-in runs on every GPU node, Spot ones too, and on no other."
  }

  assert {
    condition     = yamldecode(helm_release.autoscaler.values[0]).autoDiscovery.clusterName == "jobtuner-test-cluster" && yamldecode(helm_release.autoscaler.values[0]).nodeSelector == { "jobtuner.dev/pool" = "system" }
    error_message = "The autoscaler finds this cluster's groups, and runs where nodes do not vanish."
  }

  assert {
    condition     = strcontains(jsondecode(aws_iam_role_policy.autoscaler.policy).Statement[2].Condition.StringEquals["aws:ResourceTag/k8s.io/cluster-autoscaler/jobtuner-test-cluster"], "owned")
    error_message = "It changes groups of this cluster only."
  }
}

run "charts_are_pinned" {
  command = plan
  variables {
    autoscaler_chart    = { repository = "https://charts.example.com", version = "9" }
    device_plugin_chart = { repository = "https://charts.example.com", version = "latest" }
  }
  expect_failures = [var.autoscaler_chart, var.device_plugin_chart]
}
