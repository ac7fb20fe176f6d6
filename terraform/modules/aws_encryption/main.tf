# One key a purpose, so that each can be revoked alone.

data "aws_caller_identity" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id

  # The account's administrators manage the key, and IAM policies in the account may grant its use. Without this statement a
  # key could never be changed again.
  owner = {
    Sid       = "Owner"
    Effect    = "Allow"
    Principal = { AWS = "arn:aws:iam::${local.account}:root" }
    Action    = "kms:*"
    Resource  = "*"
  }

  # What must use the key and has no policy of ours.
  users = {
    cluster  = []
    storage  = []
    registry = []
    # Auto Scaling starts nodes with encrypted disks under a role of its own. AWS makes that role with the first group, and a
    # policy cannot name a principal that is not there yet: hence the condition.
    disks = [for grant in [false, true] : {
      Sid       = grant ? "DisksAttach" : "Disks"
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action    = grant ? ["kms:CreateGrant"] : ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      Resource  = "*"
      Condition = merge(
        { ArnEquals = { "aws:PrincipalArn" = "arn:aws:iam::${local.account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling" } },
        grant ? { Bool = { "kms:GrantIsForAWSResource" = "true" } } : {},
      )
    }]
    logs = [{
      Sid       = "Logs"
      Effect    = "Allow"
      Principal = { Service = "logs.${var.region}.amazonaws.com" }
      Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      Resource  = "*"
      Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${var.region}:${local.account}:*" } }
    }]
  }
}

resource "aws_kms_key" "this" {
  for_each = local.users

  description             = "${var.prefix}: ${each.key}"
  enable_key_rotation     = true
  rotation_period_in_days = 90
  deletion_window_in_days = 30 # to regret a destroy
  policy                  = jsonencode({ Version = "2012-10-17", Statement = concat([local.owner], each.value) })
}

resource "aws_kms_alias" "this" {
  for_each = local.users

  name          = "alias/${var.prefix}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}
