# One key for what holds prompts, answers and alarms: the bucket, the topic, the logs, the gateway's secret.

resource "aws_kms_key" "this" {
  description             = "${var.deployment.name}: bodies, alarms, logs and secrets"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_protection ? 30 : 7
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.deployment.name}"
  target_key_id = aws_kms_key.this.key_id
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:A key policy must let its account administer the key, or nobody can
  #checkov:skip=CKV_AWS_111:In a key policy the resource * is the key itself
  #checkov:skip=CKV_AWS_356:In a key policy the resource * is the key itself

  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.deployment.partition}:iam::${var.deployment.account}:root"]
    }
  }

  # Alarms are published to the encrypted topic by CloudWatch.
  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.deployment.account]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.deployment.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${var.deployment.partition}:logs:${var.deployment.region}:${var.deployment.account}:log-group:/${var.deployment.name}/*"]
    }
  }
}
