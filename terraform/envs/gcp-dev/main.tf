# Development: nothing but one small node while nobody works, Spot wherever a pod bears it, and quick to destroy.
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

  project_id      = var.project_id
  region          = var.region
  prefix          = "jobtuner-dev"
  protected       = false
  budget          = var.budget
  hmac_components = ["pipeline", "mlflow", "gateway", "serving"] # for manifests/features/external-store

  node_pools = {
    system    = { pool = "system", min_nodes = 1, max_nodes = 3 }
    work      = { pool = "work", machine_type = "e2-standard-8", max_nodes = 1 } # for pods that cannot bear Spot
    work-spot = { pool = "work", machine_type = "e2-standard-8", spot = true, max_nodes = 4 }
  }

  # One GPU is enough for the 0.5B recipe; two nodes let training and serving run side by side.
  gpu_pools = {
    l4 = { accelerator = "l4", max_nodes = 2 }
  }
}
