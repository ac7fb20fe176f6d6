mock_provider "google" {}

variables {
  project_id      = "acme-jobs"
  prefix          = "jobtuner-test"
  billing_account = "012345-6789AB-CDEF01"
  monthly_amount  = 300
}

run "warns_before_and_by_forecast" {
  command = plan

  assert {
    condition     = toset([for rule in google_billing_budget.this.threshold_rules : "${rule.threshold_percent} ${coalesce(rule.spend_basis, "CURRENT_SPEND")}"]) == toset(["0.5 CURRENT_SPEND", "0.8 CURRENT_SPEND", "1 CURRENT_SPEND", "1 FORECASTED_SPEND"])
    error_message = "At half, at four fifths, at all, and when the forecast exceeds it."
  }

  assert {
    condition     = google_billing_budget.this.amount[0].specified_amount[0].units == "300"
    error_message = "The amount that was asked for."
  }
}

run "bad_values" {
  command = plan
  variables {
    billing_account = "my-account"
    monthly_amount  = 0.5
    currency        = "Euro"
    thresholds      = [50]
    emails          = ["nobody"]
  }
  expect_failures = [var.billing_account, var.monthly_amount, var.currency, var.thresholds, var.emails]
}
