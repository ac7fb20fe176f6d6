output "image_registry" {
  description = "What stands before an image's name: <image_registry>/<image>:<tag>."
  value       = trimsuffix(values(aws_ecr_repository.image)[0].repository_url, "/${keys(aws_ecr_repository.image)[0]}")
}
