mock_provider "aws" {}

variables {
  prefix       = "jobtuner-test"
  cluster_name = "cluster"
  key          = "arn:aws:kms:eu-central-1:123456789012:key/storage"
  bucket_arns  = { data = "arn:aws:s3:::test-data", artifacts = "arn:aws:s3:::test-artifacts", models = "arn:aws:s3:::test-models", answers = "arn:aws:s3:::test-answers" }
}

run "an_association_a_component" {
  command = plan

  assert {
    condition     = { for component, item in aws_eks_pod_identity_association.component : component => "${item.namespace}/${item.service_account}" } == { pipeline = "jobtuner-pipelines/jobtuner-pipeline", deployer = "jobtuner-pipelines/jobtuner-deployer", mlflow = "jobtuner/jobtuner-mlflow", gateway = "jobtuner/jobtuner-gateway", serving = "jobtuner-serving/jobtuner-serving" }
    error_message = "Exactly the Kubernetes service accounts of the contract."
  }

  assert {
    condition     = jsondecode(aws_iam_role.component["serving"].assume_role_policy).Statement[0].Principal == { Service = "pods.eks.amazonaws.com" }
    error_message = "Roles are taken by pods alone."
  }
}

run "least_privilege" {
  command = plan

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.buckets["serving"].policy).Statement : statement.Sid] == ["List", "Read", "Key"] && jsondecode(aws_iam_role_policy.buckets["serving"].policy).Statement[1].Resource == ["arn:aws:s3:::test-models/*"]
    error_message = "Serving reads models and nothing else."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.buckets["serving"].policy, "GenerateDataKey") && strcontains(aws_iam_role_policy.buckets["pipeline"].policy, "GenerateDataKey")
    error_message = "Only who writes may make data keys."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.buckets["deployer"].policy).Statement[1].Resource == ["arn:aws:s3:::test-models/*"] && length(jsondecode(aws_iam_role_policy.buckets["deployer"].policy).Statement) == 3
    error_message = "The deployer reads models, and writes nowhere."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.buckets["gateway"].policy).Statement[3].Resource == ["arn:aws:s3:::test-answers/*"]
    error_message = "The gateway writes its prediction log and nothing else."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.buckets["mlflow"].policy).Statement[3].Resource == ["arn:aws:s3:::test-artifacts/*"]
    error_message = "MLflow writes artifacts and nothing else."
  }

  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.buckets : !strcontains(policy.policy, "\"Resource\":\"*\"") && !strcontains(policy.policy, "s3:*")])
    error_message = "No wildcard for resources or actions."
  }
}
