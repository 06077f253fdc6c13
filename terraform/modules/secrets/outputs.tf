output "admin_key_arn" {
  description = "ARN of the secret of the gateway's admin key."
  value       = aws_secretsmanager_secret.admin_key.arn
}
