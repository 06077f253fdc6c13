output "task_definition_arn" {
  description = "ARN of the task definition, with its revision."
  value       = module.task.definition_arn
}
