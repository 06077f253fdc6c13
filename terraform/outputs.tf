# The same as the outputs of the CDK stack, there in PascalCase. What is switched off is "", so that scripts need no cases.

output "aws_region" {
  description = "The AWS Region of everything."
  value       = var.aws_region
}

output "input_queue_url" {
  description = "URL of the queue that producers send to."
  value       = module.queues.urls.input
}

output "input_dlq_url" {
  description = "URL of the queue where input messages end that could not be taken in."
  value       = module.queues.urls.input_dlq
}

output "bedrock_results_queue_url" {
  description = "URL of the queue that consumers receive results from."
  value       = module.queues.urls.results
}

output "hold_next_batch_queue_url" {
  description = "URL of the queue of the requests that are called next."
  value       = module.queues.urls.hold
}

output "hold_next_batch_dlq_url" {
  description = "URL of the queue where requests end that failed three deliveries."
  value       = module.queues.urls.hold_dlq
}

output "requests_table_name" {
  description = "Name of the DynamoDB table of all requests."
  value       = module.tables.requests.name
}

output "reporting_table_name" {
  description = "Name of the DynamoDB table that analysts query."
  value       = module.tables.reporting.name
}

output "bedrock_calls_bucket_name" {
  description = "Name of the S3 bucket of request and result bodies."
  value       = module.payloads.bucket.name
}

output "alarm_topic_arn" {
  description = "ARN of the SNS topic of the alarms; subscribe further people and tools to it."
  value       = module.monitoring.topic_arn
}

output "cluster_name" {
  description = "Name of the ECS cluster."
  value       = module.cluster.name
}

output "worker_service_name" {
  description = "Name of the ECS service of the workers."
  value       = module.worker.service_name
}

output "dashboard_url" {
  description = "Address of the CloudWatch dashboard in the AWS console."
  value       = module.monitoring.dashboard_url
}

output "gateway_url" {
  description = "Base URL of the gateway, by the load balancer's own name; \"\" without the gateway. A certificate is for another name: point that name here."
  value       = join("", module.gateway[*].url)
}

output "gateway_service_name" {
  description = "Name of the ECS service of the gateway; \"\" without it."
  value       = join("", module.gateway[*].service_name)
}

output "gateway_admin_secret_arn" {
  description = "ARN of the Secrets Manager secret of the gateway's admin key; \"\" without the gateway."
  value       = join("", module.secrets[*].admin_key_arn)
}

output "discovery_task_definition_arn" {
  description = "ARN of the task definition of model discovery, with its revision; \"\" without a discovery_schedule."
  value       = join("", module.discovery[*].task_definition_arn)
}

output "export_task_definition_arn" {
  description = "ARN of the task definition of exports, with its revision; \"\" without an export_schedule."
  value       = join("", module.export[*].task_definition_arn)
}

output "analyst_policy_arn" {
  description = "ARN of the IAM policy for analysts, to be attached to their roles; \"\" without analytics_enabled."
  value       = join("", module.analytics[*].analyst_policy_arn)
}

output "athena_workgroup_name" {
  description = "Name of the Athena workgroup; \"\" without analytics_enabled."
  value       = join("", module.analytics[*].workgroup)
}

output "athena_table" {
  description = "The exports as Athena's queries name them, database.table; \"\" without analytics_enabled."
  value       = join("", module.analytics[*].table)
}
