output "topic_arn" {
  description = "ARN of the topic of the alarms."
  value       = aws_sns_topic.alarms.arn
}

output "dashboard_url" {
  description = "Address of the dashboard in the AWS console."
  value       = "https://${var.deployment.region}.console.aws.amazon.com/cloudwatch/home?region=${var.deployment.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.this.dashboard_name}"
}
