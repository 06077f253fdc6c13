# Nothing can connect to a worker. It calls AWS by HTTPS; DNS of the VPC's resolver needs no rule.

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
