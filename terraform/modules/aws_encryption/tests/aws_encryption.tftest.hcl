mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  region = "eu-central-1"
  prefix = "jobtuner-test"
}

run "a_key_a_purpose" {
  command = plan

  assert {
    condition     = toset(keys(output.keys)) == toset(["cluster", "disks", "logs", "registry", "storage"])
    error_message = "One key for each purpose."
  }

  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.enable_key_rotation && key.rotation_period_in_days == 90 && key.deletion_window_in_days == 30])
    error_message = "Keys rotate after 90 days and wait 30 days before they go."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_kms_key.this["storage"].policy).Statement : statement.Principal == { AWS = "arn:aws:iam::123456789012:root" }])
    error_message = "The storage key belongs to the account and nobody else."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_kms_key.this["disks"].policy).Statement : statement.Principal.AWS == "arn:aws:iam::123456789012:root" || try(endswith(statement.Condition.ArnEquals["aws:PrincipalArn"], "/AWSServiceRoleForAutoScaling"), false)])
    error_message = "Whoever is not the account must be Auto Scaling's own role."
  }
}
