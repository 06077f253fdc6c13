output "service_name" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.this.name
}

output "security_group_id" {
  description = "Id of the security group without ingress and with HTTPS out."
  value       = aws_security_group.this.id
}

output "container_definitions" {
  description = "The container as JSON, as ECS gets it."
  value       = module.task.container_definitions
}
