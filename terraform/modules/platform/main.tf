# All of JobTuner on Google Cloud. An environment is one call of this module: it says only in what it differs.

module "contract" {
  source = "../contract"
}

locals {
  labels = merge({ app = "jobtuner", environment = var.prefix }, var.labels)

  services = toset([
    "artifactregistry.googleapis.com", "billingbudgets.googleapis.com", "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com", "compute.googleapis.com", "container.googleapis.com",
    "containerscanning.googleapis.com", "iam.googleapis.com", "logging.googleapis.com", "monitoring.googleapis.com",
    "secretmanager.googleapis.com", "servicenetworking.googleapis.com", "sqladmin.googleapis.com", "storage.googleapis.com",
  ])
}

resource "google_project_service" "this" {
  for_each = local.services

  project            = var.project_id
  service            = each.value
  disable_on_destroy = false # others in the project may use it
}

module "network" {
  source = "../network"

  project_id       = var.project_id
  region           = var.region
  prefix           = var.prefix
  private_services = var.database != null

  depends_on = [google_project_service.this]
}

module "encryption" {
  source = "../encryption"

  project_id = var.project_id
  location   = var.region
  prefix     = var.prefix
  labels     = local.labels

  depends_on = [google_project_service.this]
}

module "cluster" {
  source = "../cluster"

  project_id             = var.project_id
  region                 = var.region
  zones                  = var.zones
  prefix                 = var.prefix
  network_id             = module.network.network_id
  subnetwork_id          = module.network.subnetwork_id
  range_names            = module.network.range_names
  secrets_key            = module.encryption.keys.cluster
  authorized_networks    = var.authorized_networks
  dns_endpoint           = var.dns_endpoint
  security_group         = var.security_group
  release_channel        = var.release_channel
  maintenance_exclusions = var.maintenance_exclusions
  managed_prometheus     = var.managed_prometheus
  deletion_protection    = var.protected
  labels                 = local.labels
}

module "node_pool" {
  source   = "../node_pool"
  for_each = var.node_pools

  project_id           = var.project_id
  cluster_name         = module.cluster.name
  location             = module.cluster.location
  pool                 = each.value.pool
  machine_type         = each.value.machine_type
  spot                 = each.value.spot
  min_nodes            = each.value.min_nodes
  max_nodes            = each.value.max_nodes
  disk_key             = module.encryption.keys.disks
  node_service_account = module.cluster.node_service_account
  labels               = local.labels
}

module "gpu_pool" {
  source   = "../gpu_pool"
  for_each = var.gpu_pools

  project_id           = var.project_id
  cluster_name         = module.cluster.name
  location             = module.cluster.location
  zones                = each.value.zones
  accelerator          = each.value.accelerator
  gpus_per_node        = each.value.gpus_per_node
  capacity             = each.value.capacity
  max_nodes            = each.value.max_nodes
  disk_key             = module.encryption.keys.disks
  node_service_account = module.cluster.node_service_account
  labels               = local.labels
}

module "identity" {
  source = "../identity"

  project_id    = var.project_id
  prefix        = var.prefix
  workload_pool = module.cluster.workload_pool
}

module "storage" {
  source = "../storage"

  project_id            = var.project_id
  location              = var.region
  prefix                = coalesce(var.bucket_prefix, "${var.project_id}-${var.prefix}")
  key                   = module.encryption.keys.storage
  members               = module.identity.members
  hmac_components       = var.hmac_components
  models_retention_days = var.models_retention_days
  force_destroy         = !var.protected
  labels                = local.labels
}

module "registry" {
  source = "../registry"

  project_id = var.project_id
  location   = var.region
  prefix     = var.prefix
  key        = module.encryption.keys.registry
  writers    = var.image_writers
  labels     = local.labels
}

module "database" {
  source = "../database"
  count  = var.database == null ? 0 : 1

  project_id                  = var.project_id
  region                      = var.region
  prefix                      = var.prefix
  network_id                  = module.network.network_id
  private_services_connection = module.network.private_services_connection
  key                         = module.encryption.keys.database
  tier                        = var.database.tier
  high_availability           = var.database.high_availability
  deletion_protection         = var.protected
  labels                      = local.labels
}

module "budget" {
  source = "../budget"
  count  = var.budget == null ? 0 : 1

  project_id      = var.project_id
  prefix          = var.prefix
  billing_account = var.budget.billing_account
  monthly_amount  = var.budget.monthly_amount
  currency        = var.budget.currency
  emails          = var.budget.emails

  depends_on = [google_project_service.this]
}
