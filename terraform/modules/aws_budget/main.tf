# A budget warns, it does not stop anything: what a mistake can cost at most is limited by max_nodes of the pools.
resource "aws_budgets_budget" "this" {
  name         = "${var.prefix}-monthly"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_amount)
  limit_unit   = "USD" # AWS accepts no other

  dynamic "notification" {
    for_each = var.thresholds

    content {
      notification_type          = "ACTUAL"
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value * 100
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.emails
    }
  }

  # The forecast tells of a forgotten GPU days before the money is gone.
  notification {
    notification_type          = "FORECASTED"
    comparison_operator        = "GREATER_THAN"
    threshold                  = 100
    threshold_type             = "PERCENTAGE"
    subscriber_email_addresses = var.emails
  }
}
