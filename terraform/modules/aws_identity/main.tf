# One role a component, which EKS Pod Identity gives to the Kubernetes service account of that very namespace and name.

module "contract" {
  source = "../contract"
}

locals {
  read  = ["s3:GetObject"]
  write = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]

  components = {
    for component, rights in module.contract.access : component => {
      account = module.contract.service_accounts[component]
      read    = [for bucket, right in rights : var.bucket_arns[bucket]]
      write   = [for bucket, right in rights : var.bucket_arns[bucket] if right == "write"]
    }
  }
}

resource "aws_iam_role" "component" {
  for_each = local.components

  name        = "${var.prefix}-${each.key}"
  description = "JobTuner: ${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
    }]
  })
}

resource "aws_iam_role_policy" "buckets" {
  for_each = local.components

  name = "buckets"
  role = aws_iam_role.component[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        { Sid = "List", Effect = "Allow", Action = ["s3:ListBucket", "s3:GetBucketLocation"], Resource = each.value.read },
        { Sid = "Read", Effect = "Allow", Action = local.read, Resource = [for arn in each.value.read : "${arn}/*"] },
        { Sid = "Key", Effect = "Allow", Action = length(each.value.write) == 0 ? ["kms:Decrypt"] : ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.key] },
      ],
      length(each.value.write) == 0 ? [] : [
        { Sid = "Write", Effect = "Allow", Action = local.write, Resource = [for arn in each.value.write : "${arn}/*"] },
      ],
    )
  })
}

resource "aws_eks_pod_identity_association" "component" {
  for_each = local.components

  cluster_name    = var.cluster_name
  namespace       = each.value.account.namespace
  service_account = each.value.account.name
  role_arn        = aws_iam_role.component[each.key].arn
}
