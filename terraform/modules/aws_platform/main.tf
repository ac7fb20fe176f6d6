# All of JobTuner on AWS. An environment is one call of this module: it says only in what it differs.

module "contract" {
  source = "../contract"
}

data "aws_caller_identity" "this" {}

module "encryption" {
  source = "../aws_encryption"

  region = var.region
  prefix = var.prefix
}

module "network" {
  source = "../aws_network"

  region       = var.region
  zones        = var.zones
  prefix       = var.prefix
  nat_per_zone = var.nat_per_zone
  logs_key     = module.encryption.keys.logs
}

module "cluster" {
  source = "../aws_cluster"

  region              = var.region
  prefix              = var.prefix
  kubernetes_version  = var.kubernetes_version
  subnet_ids          = values(module.network.private_subnet_ids)
  secrets_key         = module.encryption.keys.cluster
  logs_key            = module.encryption.keys.logs
  authorized_networks = var.authorized_networks
  admins              = var.admins
  deletion_protection = var.protected
}

module "node_pool" {
  source   = "../aws_node_pool"
  for_each = var.node_pools

  cluster_name   = module.cluster.name
  subnet_ids     = values(module.network.private_subnet_ids)
  pool           = each.value.pool
  instance_types = each.value.instance_types
  spot           = each.value.spot
  min_nodes      = each.value.min_nodes
  max_nodes      = each.value.max_nodes
  disk_key       = module.encryption.keys.disks
  node_role_arn  = module.cluster.node_role_arn
}

module "gpu_pool" {
  source   = "../aws_gpu_pool"
  for_each = var.gpu_pools

  cluster_name  = module.cluster.name
  subnet_ids    = [for zone, id in module.network.private_subnet_ids : id if length(each.value.zones) == 0 || contains(each.value.zones, zone)]
  accelerator   = each.value.accelerator
  gpus_per_node = each.value.gpus_per_node
  capacity      = each.value.capacity
  max_nodes     = each.value.max_nodes
  disk_key      = module.encryption.keys.disks
  node_role_arn = module.cluster.node_role_arn
}

module "addons" {
  source = "../aws_addons"

  region       = var.region
  prefix       = var.prefix
  cluster_name = module.cluster.name
  disk_key     = module.encryption.keys.disks

  depends_on = [module.node_pool]
}

module "storage" {
  source = "../aws_storage"

  region                = var.region
  prefix                = coalesce(var.bucket_prefix, "${var.prefix}-${data.aws_caller_identity.this.account_id}")
  key                   = module.encryption.keys.storage
  models_retention_days = var.models_retention_days
  force_destroy         = !var.protected
}

module "registry" {
  source = "../aws_registry"

  prefix        = var.prefix
  images        = var.images
  key           = module.encryption.keys.registry
  force_destroy = !var.protected
}

module "identity" {
  source = "../aws_identity"

  prefix       = var.prefix
  cluster_name = module.cluster.name
  bucket_arns  = module.storage.arns
  key          = module.encryption.keys.storage
}

module "budget" {
  source = "../aws_budget"
  count  = var.budget == null ? 0 : 1

  prefix         = var.prefix
  monthly_amount = var.budget.monthly_amount
  emails         = var.budget.emails
}
