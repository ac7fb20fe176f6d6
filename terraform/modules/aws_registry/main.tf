# Repositories for images: immutable tags, scanning, clean-up.

# ECR wants a repository for each image.
resource "aws_ecr_repository" "image" {
  for_each = var.images

  name                 = "${var.prefix}/${each.value}"
  image_tag_mutability = "IMMUTABLE" # a tag says for ever the same: what was tested is what runs
  force_delete         = var.force_destroy

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.key
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "image" {
  for_each = var.images

  repository = aws_ecr_repository.image[each.key].name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Untagged images go after a week."
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "The latest images stay."
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.keep_versions }
        action       = { type = "expire" }
      },
    ]
  })
}
