# A VPC-native network: private nodes, NAT for the way out, flow logs, and a rule that denies and logs what nothing allows.

resource "google_compute_network" "this" {
  project                 = var.project_id
  name                    = "${var.prefix}-network"
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

# VPC-native: pods and services have ranges of their own, so that firewall rules and flow logs see pod addresses.
resource "google_compute_subnetwork" "nodes" {
  project                  = var.project_id
  region                   = var.region
  name                     = "${var.prefix}-nodes"
  network                  = google_compute_network.this.id
  ip_cidr_range            = var.node_range
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = var.pod_range
  }

  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = var.service_range
  }

  log_config {
    aggregation_interval = "INTERVAL_5_SEC"
    flow_sampling        = var.flow_log_sampling
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# Google denies by default what nothing allows, but silently: this rule says so and logs it. What GKE needs, it opens itself
# with rules of priority 1000.
resource "google_compute_firewall" "deny_ingress" {
  project       = var.project_id
  name          = "${var.prefix}-deny-ingress"
  network       = google_compute_network.this.id
  direction     = "INGRESS"
  priority      = 65534 # the last before the implied rules
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "this" {
  project = var.project_id
  region  = var.region
  name    = "${var.prefix}-router"
  network = google_compute_network.this.id
}

# Nodes have no public address. NAT lets them pull images and model weights, and lets nobody in.
resource "google_compute_router_nat" "this" {
  project                             = var.project_id
  region                              = var.region
  name                                = "${var.prefix}-nat"
  router                              = google_compute_router.this.name
  nat_ip_allocate_option              = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat  = "ALL_SUBNETWORKS_ALL_IP_RANGES"
  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false # dynamic port allocation excludes it
  min_ports_per_vm                    = 64
  max_ports_per_vm                    = 4096 # a node that downloads a model in parallel parts opens hundreds of connections

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# Google's managed services (Cloud SQL) live in a peered network. Peering is free, and made only where somebody needs it.
resource "google_compute_global_address" "services" {
  count = var.private_services ? 1 : 0

  project       = var.project_id
  name          = "${var.prefix}-services"
  network       = google_compute_network.this.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20 # 4,096 addresses; Cloud SQL takes a /24 a region
}

resource "google_service_networking_connection" "services" {
  count = var.private_services ? 1 : 0

  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services[0].name]
  # Deleting the peering fails for hours after the last Cloud SQL instance is gone. The network's deletion takes it along.
  deletion_policy = "ABANDON"
}
