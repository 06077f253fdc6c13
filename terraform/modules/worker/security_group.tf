# Nothing can connect to a worker. It calls AWS by HTTPS, and the traces' collector at its port; DNS of the VPC's resolver needs
# no rule.

locals {
  collector      = var.otlp_endpoint == "" ? null : regex("^(?P<scheme>https?)://[^/:]+(?::(?P<port>[0-9]+))?", var.otlp_endpoint)
  collector_port = local.collector == null ? 443 : tonumber(coalesce(local.collector.port, local.collector.scheme == "https" ? "443" : "80"))
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:It is attached to the tasks by the network configuration of the service

  name        = "${var.deployment.name}-worker"
  description = "Workers of ${var.deployment.name}: no ingress, HTTPS out"
  vpc_id      = var.network.vpc_id

  tags = { Name = "${var.deployment.name}-worker" }
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "AWS endpoints"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "collector" {
  count = local.collector_port == 443 ? 0 : 1

  security_group_id = aws_security_group.this.id
  description       = "The collector of traces"
  ip_protocol       = "tcp"
  from_port         = local.collector_port
  to_port           = local.collector_port
  cidr_ipv4         = "0.0.0.0/0"
}
