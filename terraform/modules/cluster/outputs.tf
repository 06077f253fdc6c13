output "name" {
  description = "Name of the cluster."
  value       = aws_ecs_cluster.this.name
}

output "arn" {
  description = "ARN of the cluster."
  value       = aws_ecs_cluster.this.arn
}

output "execution_role_arn" {
  description = "ARN of the role by which ECS starts tasks. Known once it may do so."
  value       = aws_iam_role.execution.arn
  depends_on  = [aws_iam_role_policy.execution]
}
