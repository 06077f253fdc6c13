output "urls" {
  description = "URLs by use: input, input_dlq, results, hold, hold_dlq."
  value       = { for key, queue in aws_sqs_queue.this : key => queue.id }
}

output "arns" {
  description = "ARNs by use."
  value       = { for key, queue in aws_sqs_queue.this : key => queue.arn }
}

output "names" {
  description = "Names by use."
  value       = { for key, queue in aws_sqs_queue.this : key => queue.name }
}
