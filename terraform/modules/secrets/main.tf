# Made without a value: one in Terraform would be readable in the state. scripts/deploy puts a random one in.
resource "aws_secretsmanager_secret" "admin_key" {
  #checkov:skip=CKV2_AWS_57:The key is replaced by putting a new value and restarting the gateway; there is nothing that a rotation function could tell it to

  name                    = "${var.deployment.name}/gateway-admin-key"
  description             = "Key of the administrator of the gateway of ${var.deployment.name}"
  kms_key_id              = var.key_arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}
