# Development: nothing but one small node while nobody works, Spot wherever a pod bears it, and quick to destroy.
#
#   terraform init -backend-config=backend.hcl
#   terraform apply -var-file=gcp-dev.tfvars

terraform {
  required_version = ">= 1.11"

  # Which bucket holds the state stands in backend.hcl (see backend.hcl.example): it is not the same for everybody.
  backend "gcs" {}

  required_providers {
    google      = { source = "hashicorp/google", version = ">= 6.50, < 8" }
    google-beta = { source = "hashicorp/google-beta", version = ">= 6.50, < 8" }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
  # A budget is billed to a project of its own choice, which must be this one.
  billing_project       = var.project_id
  user_project_override = true
}

provider "google-beta" {
  project = var.project_id
  region  = var.region
}

module "platform" {
  source = "../../modules/platform"

  project_id = var.project_id
  region     = var.region
  prefix     = "jobtuner-dev"
  protected  = false
  budget     = var.budget

  node_pools = {
    system    = { pool = "system", min_nodes = 1, max_nodes = 3 }
    work      = { pool = "work", machine_type = "e2-standard-8", max_nodes = 1 } # for pods that cannot bear Spot
    work-spot = { pool = "work", machine_type = "e2-standard-8", spot = true, max_nodes = 4 }
  }

  # One GPU is enough for the 0.5B recipe; two nodes let training and serving run side by side.
  gpu_pools = {
    l4 = { accelerator = "l4", max_nodes = 2 }
  }

  hmac_components = ["pipeline"]
}
