resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:The gateway records every request in the requests table; access logs need a bucket of their own
  #checkov:skip=CKV2_AWS_28:Only gateway_cidrs reach it and every call needs a key; a firewall costs per request and is the operator's choice
  #checkov:skip=CKV2_AWS_20:Port 80 redirects as soon as there is a certificate
  #checkov:skip=CKV_AWS_150:Deletion protection is the operator's choice; the default is on

  name                       = local.name
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.network.subnet_ids
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection

  # As long as a model call may take before its first byte.
  idle_timeout = 900
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:Between load balancer and task, inside the VPC and between two security groups

  name        = local.name
  vpc_id      = var.network.vpc_id
  target_type = "ip"
  protocol    = "HTTP"
  port        = local.port

  health_check {
    path                = "/ready"
    protocol            = "HTTP"
    matcher             = "200"
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "https" {
  count = var.certificate_arn == "" ? 0 : 1

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_lb_listener" "http" {
  #checkov:skip=CKV_AWS_2:It redirects to HTTPS, or there is no certificate, which a check warns about
  #checkov:skip=CKV_AWS_103:It redirects to HTTPS, or there is no certificate, which a check warns about

  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  dynamic "default_action" {
    for_each = var.certificate_arn == "" ? [1] : []

    content {
      type             = "forward"
      target_group_arn = aws_lb_target_group.this.arn
    }
  }

  dynamic "default_action" {
    for_each = var.certificate_arn == "" ? [] : [1]

    content {
      type = "redirect"

      redirect {
        protocol    = "HTTPS"
        port        = "443"
        status_code = "HTTP_301"
      }
    }
  }
}
