output "task_definition_arn" {
  description = "ARN of the task definition, with its revision."
  value       = module.scheduled.task_definition_arn
}
