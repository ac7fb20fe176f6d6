mock_provider "google" {}

variables {
  project_id    = "acme-jobs"
  prefix        = "jobtuner-test"
  workload_pool = "acme-jobs.svc.id.goog"
}

run "an_account_a_component" {
  command = plan

  assert {
    condition     = { for component, account in google_service_account.component : component => account.account_id } == { pipeline = "jobtuner-test-pipeline", deployer = "jobtuner-test-deployer", mlflow = "jobtuner-test-mlflow", gateway = "jobtuner-test-gateway", serving = "jobtuner-test-serving" }
    error_message = "Every component that reaches buckets, and no other, has an account."
  }

  assert {
    condition     = google_service_account_iam_member.workload["pipeline"].member == "serviceAccount:acme-jobs.svc.id.goog[jobtuner-pipelines/jobtuner-pipeline]" && google_service_account_iam_member.workload["serving"].member == "serviceAccount:acme-jobs.svc.id.goog[jobtuner-serving/jobtuner-serving]"
    error_message = "Exactly the Kubernetes service account of the contract acts as the component."
  }

  assert {
    condition     = alltrue([for grant in google_service_account_iam_member.workload : grant.role == "roles/iam.workloadIdentityUser"])
    error_message = "By Workload Identity, with no key."
  }
}

run "prefix_too_long_for_an_account" {
  command = plan
  variables {
    prefix = "jobtuner-of-a-long-name"
  }
  expect_failures = [var.prefix]
}
