# Production: protected against deletion, a database with a standby, the STABLE channel, and GPUs for every recipe.
terraform {
  required_version = ">= 1.11"
  backend "gcs" {} # whose bucket: backend.hcl, after backend.hcl.example

  required_providers {
    google = { source = "hashicorp/google", version = ">= 6.50, < 8" }
  }
}

provider "google" {
  project               = var.project_id
  billing_project       = var.project_id # a budget's API calls are charged to a project that must be named
  user_project_override = true
}

module "platform" {
  source = "../../modules/platform"

  project_id            = var.project_id
  region                = var.region
  prefix                = "jobtuner-prod"
  budget                = var.budget
  hmac_components       = ["pipeline", "mlflow", "gateway", "serving"] # for manifests/features/external-store
  release_channel       = "STABLE"
  security_group        = var.security_group
  database              = { high_availability = true }
  models_retention_days = 90

  node_pools = {
    system    = { pool = "system", min_nodes = 3, max_nodes = 6 } # one a zone
    work      = { pool = "work", machine_type = "e2-standard-8", max_nodes = 4 }
    work-spot = { pool = "work", machine_type = "e2-standard-8", spot = true, max_nodes = 8 }
  }

  # l4 serves; a100 trains up to 7B; an h100 node of 8 trains 72B, bought by the queue, since nobody has one to spare at once.
  gpu_pools = {
    l4   = { accelerator = "l4", max_nodes = 4 }
    a100 = { accelerator = "a100", max_nodes = 2 }
    h100 = { accelerator = "h100", gpus_per_node = 8, capacity = ["spot", "queued"], max_nodes = 1 }
  }
}
