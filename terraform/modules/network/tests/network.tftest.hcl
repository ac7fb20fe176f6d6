mock_provider "google" {}

variables {
  project_id = "acme-jobs"
  region     = "europe-west4"
  prefix     = "jobtuner-test"
}

run "private_by_default" {
  command = plan

  assert {
    condition     = google_compute_subnetwork.nodes.private_ip_google_access && !google_compute_network.this.auto_create_subnetworks
    error_message = "Nodes reach Google's services without a public address, and no other subnet exists."
  }

  assert {
    condition     = google_compute_subnetwork.nodes.log_config[0].flow_sampling == 0.1 && google_compute_router_nat.this.log_config[0].enable
    error_message = "Flows and NAT errors are logged."
  }

  assert {
    condition     = output.range_names == { pods = "pods", services = "services" }
    error_message = "Pods and services have ranges of their own (VPC-native)."
  }

  assert {
    condition     = length(google_compute_firewall.deny_ingress.allow) == 0 && google_compute_firewall.deny_ingress.source_ranges == toset(["0.0.0.0/0"])
    error_message = "What nothing allows is denied."
  }

  assert {
    condition     = length(google_service_networking_connection.services) == 0 && output.private_services_connection == null
    error_message = "The peering is only made where somebody needs it."
  }
}

run "peering_for_the_database" {
  command = plan
  variables {
    private_services = true
  }

  assert {
    condition     = google_compute_global_address.services[0].purpose == "VPC_PEERING"
    error_message = "Managed services get addresses in this network."
  }
}

run "bad_ranges" {
  command = plan
  variables {
    node_range        = "10.0.0.0"
    pod_range         = "all"
    service_range     = "fd00::/8"
    flow_log_sampling = 0
  }
  expect_failures = [var.node_range, var.pod_range, var.service_range, var.flow_log_sampling]
}
