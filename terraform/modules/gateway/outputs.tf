output "url" {
  description = "Base URL, by the load balancer's own name."
  value       = "${var.certificate_arn == "" ? "http" : "https"}://${aws_lb.this.dns_name}"
}

output "service_name" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.this.name
}

output "container_definitions" {
  description = "The container as JSON, as ECS gets it."
  value       = module.task.container_definitions
}
