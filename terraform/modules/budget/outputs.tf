output "name" {
  description = "Name of the budget in the billing account."
  value       = google_billing_budget.this.name
}
