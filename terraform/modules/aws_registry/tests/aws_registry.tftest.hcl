mock_provider "aws" {
  mock_resource "aws_ecr_repository" {
    defaults = { repository_url = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/jobtuner-test/jobtuner" }
  }
}

variables {
  prefix = "jobtuner-test"
  images = ["jobtuner"]
  key    = "arn:aws:kms:eu-central-1:123456789012:key/registry"
}

run "immutable_scanned_cleaned" {
  command = apply

  assert {
    condition     = aws_ecr_repository.image["jobtuner"].image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.image["jobtuner"].image_scanning_configuration[0].scan_on_push
    error_message = "Tags never move, and images are scanned."
  }

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.image["jobtuner"].policy).rules : rule.selection.countNumber] == [7, 20]
    error_message = "Untagged images go after a week, the latest 20 stay."
  }

  assert {
    condition     = output.image_registry == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/jobtuner-test"
    error_message = "What stands before an image's name."
  }
}

run "bad_values" {
  command = plan
  variables {
    images        = ["JobTuner"]
    keep_versions = 0
  }
  expect_failures = [var.images, var.keep_versions]
}
