# What GKE brings along and EKS does not: DNS, disks, metrics, a node autoscaler, and the plug-in that shows GPUs to Kubernetes.
# All of it runs on nodes, so it comes after the first pool.

module "contract" {
  source = "../contract"
}

locals {
  # Each may do what it must by a role of its own.
  roles = {
    ebs-csi-controller-sa = "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
    cluster-autoscaler    = null # its policy is below: AWS has none
  }

  system_node = { (module.contract.node_labels.pool.key) = "system" }
}

data "aws_iam_policy_document" "pods" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name               = "${var.prefix}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.pods.json
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = { for name, policy in local.roles : name => policy if policy != null }

  role       = aws_iam_role.this[each.key].name
  policy_arn = each.value
}

# Disks are encrypted with our key: the driver makes grants on it for EC2.
resource "aws_iam_role_policy" "disks" {
  name = "disk-key"
  role = aws_iam_role.this["ebs-csi-controller-sa"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource = var.disk_key
      },
      {
        Effect    = "Allow"
        Action    = ["kms:CreateGrant"]
        Resource  = var.disk_key
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
    ]
  })
}

# It may look at all groups (AWS knows no narrower right), and change only those that EKS has tagged as this cluster's.
resource "aws_iam_role_policy" "autoscaler" {
  name = "scale"
  role = aws_iam_role.this["cluster-autoscaler"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Action = [
          "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLaunchConfigurations",
          "autoscaling:DescribeScalingActivities", "autoscaling:DescribeTags", "ec2:DescribeImages", "ec2:DescribeInstanceTypes",
          "ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements",
        ]
        Resource = "*"
      },
      {
        Effect   = "Allow"
        Action   = ["eks:DescribeNodegroup"]
        Resource = "arn:aws:eks:${var.region}:*:nodegroup/${var.cluster_name}/*"
      },
      {
        Effect    = "Allow"
        Action    = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
        Resource  = "arn:aws:autoscaling:${var.region}:*:autoScalingGroup:*:autoScalingGroupName/*"
        Condition = { StringEquals = { "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.cluster_name}" = "owned" } }
      },
    ]
  })
}

resource "aws_eks_pod_identity_association" "autoscaler" {
  cluster_name    = var.cluster_name
  namespace       = "kube-system"
  service_account = "cluster-autoscaler"
  role_arn        = aws_iam_role.this["cluster-autoscaler"].arn
}

resource "aws_eks_addon" "this" {
  for_each = toset(["coredns", "metrics-server"])

  cluster_name                = var.cluster_name
  addon_name                  = each.value
  configuration_values        = jsonencode({ nodeSelector = local.system_node })
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"
}

resource "aws_eks_addon" "disks" {
  cluster_name                = var.cluster_name
  addon_name                  = "aws-ebs-csi-driver"
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  pod_identity_association {
    service_account = "ebs-csi-controller-sa"
    role_arn        = aws_iam_role.this["ebs-csi-controller-sa"].arn
  }

  depends_on = [aws_iam_role_policy_attachment.this, aws_iam_role_policy.disks]
}

# EKS has no default storage class any more: without one every volume claim of manifests/ would wait for ever. This one
# encrypts with our key. It is a chart of ten lines beside this file, so that one provider is enough.
resource "helm_release" "storage_class" {
  name      = "jobtuner-storage-class"
  namespace = "kube-system"
  chart     = "${path.module}/storage-class"

  values = [yamlencode({ key = var.disk_key })]

  depends_on = [aws_eks_addon.disks]
}

resource "helm_release" "autoscaler" {
  name       = "cluster-autoscaler"
  namespace  = "kube-system"
  repository = var.autoscaler_chart.repository
  chart      = "cluster-autoscaler"
  version    = var.autoscaler_chart.version
  atomic     = true # a failed upgrade goes back

  values = [yamlencode({
    awsRegion     = var.region
    autoDiscovery = { clusterName = var.cluster_name }
    nodeSelector  = local.system_node
    rbac          = { serviceAccount = { name = "cluster-autoscaler" } }
    extraArgs = {
      expander                    = "priority,least-waste"
      scale-down-unneeded-time    = "5m" # an idle GPU is the dearest thing here; the chart's 10 minutes are twice as long
      skip-nodes-with-system-pods = false
    }
    # Spot first, where a pod may run on either. As text: the autoscaler wants numbers as keys, which yamlencode would quote.
    expanderPriorities = "20:\n  - .*-spot.*\n10:\n  - .*\n"
  })]

  depends_on = [aws_eks_pod_identity_association.autoscaler, aws_iam_role_policy.autoscaler, aws_eks_addon.this]
}

resource "helm_release" "gpus" {
  name       = "nvidia-device-plugin"
  namespace  = "kube-system"
  repository = var.device_plugin_chart.repository
  chart      = "nvidia-device-plugin"
  version    = var.device_plugin_chart.version
  atomic     = true

  # On every GPU node and no other. Whoever tolerates no taint never gets to see a GPU: so it tolerates both.
  values = [yamlencode({
    nodeSelector = { (module.contract.node_labels.pool.key) = "gpu" }
    affinity     = null # the chart looks for labels of node-feature-discovery, which is not installed
    tolerations = [
      for taint in module.contract.taints : { key = taint.key, operator = "Equal", value = taint.value, effect = taint.effect }
    ]
  })]
}
