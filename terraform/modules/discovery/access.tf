data "aws_iam_policy_document" "discovery" {
  #checkov:skip=CKV_AWS_356:Bedrock has no resources for listing models and profiles

  source_policy_documents = [var.access.key, var.access.metrics, var.access.quotas]

  statement {
    sid       = "Discover"
    actions   = ["bedrock:ListFoundationModels", "bedrock:ListInferenceProfiles"]
    resources = ["*"]
  }

  statement {
    sid       = "Catalog"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.bucket_arn}/models/*"]
  }

  dynamic "statement" {
    for_each = length(var.role_arns) == 0 ? [] : [1]

    content {
      sid       = "Accounts"
      actions   = ["sts:AssumeRole"]
      resources = var.role_arns
    }
  }
}
