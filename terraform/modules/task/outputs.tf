output "definition_arn" {
  description = "ARN of the task definition, with its revision. Known once the task may do its work."
  value       = aws_ecs_task_definition.this.arn
  depends_on  = [aws_iam_role_policy.this]
}

output "family" {
  description = "Family of the task definition."
  value       = aws_ecs_task_definition.this.family
}

output "role_arn" {
  description = "ARN of the role of the code in the task."
  value       = aws_iam_role.this.arn
}

output "container_definitions" {
  description = "The container as JSON, as ECS gets it."
  value       = aws_ecs_task_definition.this.container_definitions
}
