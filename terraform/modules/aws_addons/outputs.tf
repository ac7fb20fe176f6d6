output "charts" {
  description = "Version of each chart that is installed, by release name."
  value       = { for release in [helm_release.autoscaler, helm_release.gpus] : release.name => release.version }
}
