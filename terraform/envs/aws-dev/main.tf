# Development on AWS: one system node and one NAT gateway while nobody works, Spot wherever a pod bears it.
terraform {
  required_version = ">= 1.11"
  backend "s3" {} # whose bucket: backend.hcl, after backend.hcl.example

  required_providers {
    aws  = { source = "hashicorp/aws", version = ">= 6.28, < 7" }
    helm = { source = "hashicorp/helm", version = ">= 3.0, < 4" }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { app = "jobtuner", environment = "jobtuner-dev" }
  }
}

# A token for every call, from the AWS command line: none is stored.
provider "helm" {
  kubernetes = {
    host                   = module.platform.cluster.endpoint
    cluster_ca_certificate = base64decode(module.platform.cluster.certificate_authority)
    exec = {
      api_version = "client.authentication.k8s.io/v1beta1"
      command     = "aws"
      args        = ["eks", "get-token", "--cluster-name", module.platform.cluster.name, "--region", var.region]
    }
  }
}

module "platform" {
  source = "../../modules/aws_platform"

  region              = var.region
  zones               = ["${var.region}a", "${var.region}b"]
  prefix              = "jobtuner-dev"
  authorized_networks = var.authorized_networks
  protected           = false
  budget              = var.budget

  node_pools = {
    system    = { pool = "system", min_nodes = 1, max_nodes = 3 }
    work      = { pool = "work", instance_types = ["m7i.2xlarge", "m6i.2xlarge"], max_nodes = 1 } # for pods that cannot bear Spot
    work-spot = { pool = "work", instance_types = ["m7i.2xlarge", "m6i.2xlarge", "m5.2xlarge"], spot = true, max_nodes = 4 }
  }

  # One GPU is enough for the 0.5B recipe; two nodes let training and serving run side by side.
  gpu_pools = {
    l4 = { accelerator = "l4", max_nodes = 2 }
  }
}
