resource "aws_security_group" "load_balancer" {
  #checkov:skip=CKV2_AWS_5:It is attached to the load balancer

  name        = "${local.name}-alb"
  description = "Load balancer of ${local.name}: from gateway_cidrs to the gateway"
  vpc_id      = var.network.vpc_id

  tags = { Name = "${local.name}-alb" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  #checkov:skip=CKV_AWS_260:Port 80 redirects to 443 when there is a certificate; who may come is the operator's choice

  for_each = {
    for pair in setproduct(var.certificate_arn == "" ? [80] : [80, 443], var.cidrs) : "${pair[0]} ${pair[1]}" => { port = pair[0], cidr = pair[1] }
  }

  security_group_id = aws_security_group.load_balancer.id
  description       = "Clients"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_egress_rule" "to_gateway" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Gateway"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.gateway.id
}

resource "aws_security_group" "gateway" {
  #checkov:skip=CKV2_AWS_5:It is attached to the tasks by the network configuration of the service

  name        = local.name
  description = "Tasks of ${local.name}: from the load balancer, HTTPS out"
  vpc_id      = var.network.vpc_id

  tags = { Name = local.name }
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "Load balancer"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.load_balancer.id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.gateway.id
  description       = "AWS endpoints"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}
