mock_provider "aws" {}

variables {
  prefix         = "jobtuner-test"
  monthly_amount = 300
  emails         = ["platform@example.com"]
}

run "warns_before_and_by_forecast" {
  command = plan

  assert {
    condition     = toset([for item in aws_budgets_budget.this.notification : "${item.notification_type} ${item.threshold}"]) == toset(["ACTUAL 50", "ACTUAL 80", "ACTUAL 100", "FORECASTED 100"])
    error_message = "At half, at four fifths, at all, and when the forecast exceeds it."
  }
}

run "bad_values" {
  command = plan
  variables {
    monthly_amount = 0
    thresholds     = [0.1, 0.2, 0.3, 0.4, 0.5]
    emails         = []
  }
  expect_failures = [var.monthly_amount, var.thresholds, var.emails]
}
