mock_provider "aws" {}

variables {
  region   = "eu-central-1"
  zones    = ["eu-central-1a", "eu-central-1b"]
  prefix   = "jobtuner-test"
  logs_key = "arn:aws:kms:eu-central-1:123456789012:key/logs"
}

run "private_nodes_and_one_way_out" {
  command = plan

  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { eu-central-1a = "10.0.0.0/18", eu-central-1b = "10.0.64.0/18" }
    error_message = "A /18 a zone: every pod has an address of its own."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_route.nat) == 2
    error_message = "One NAT gateway serves both zones."
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flows.kms_key_id == var.logs_key
    error_message = "All flows are logged, under our key."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "Models reach S3 without passing NAT."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.tags["kubernetes.io/role/internal-elb"] == "1" && coalesce(subnet.map_public_ip_on_launch, false) == false])
    error_message = "Internal load balancers find the private subnets, and nothing there gets a public address."
  }
}

run "a_nat_gateway_a_zone" {
  command = plan
  variables {
    zones        = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    nat_per_zone = true
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_eip.nat) == 3
    error_message = "Each zone has its own way out."
  }
}

run "bad_values" {
  command = plan
  variables {
    zones         = ["eu-central-1a"]
    range         = "10.0.0.0/20"
    flow_log_days = 10
  }
  expect_failures = [var.zones, var.range, var.flow_log_days]
}
