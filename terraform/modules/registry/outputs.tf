output "image_registry" {
  description = "What stands before an image's name: <image_registry>/<image>:<tag>."
  value       = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}
