output "records" {
  description = "Policy document: rows, reports and bodies."
  value       = data.aws_iam_policy_document.records.json
}

output "key" {
  description = "Policy document: the key, through S3 and SNS."
  value       = data.aws_iam_policy_document.key.json
}

output "metrics" {
  description = "Policy document: metrics of the namespace."
  value       = data.aws_iam_policy_document.metrics.json
}

output "usage_feed" {
  description = "Policy document: reading metrics, when usage_feed."
  value       = data.aws_iam_policy_document.usage_feed.json
}

output "quotas" {
  description = "Policy document: what Service Quotas says."
  value       = data.aws_iam_policy_document.quotas.json
}

output "model_arns" {
  description = "ARNs of the models and inference profiles that may be called."
  value       = local.model_arns
}
