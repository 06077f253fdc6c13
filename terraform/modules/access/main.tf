# What more than one task may do, as policy documents to put together: the worker and the gateway call models and keep the
# same records; discovery shares a part. Each statement lists the actions that the code calls, on what was made here.

locals {
  arn = "arn:${var.deployment.partition}"

  # What is before the model's id in the id of a cross-Region inference profile.
  geography = "/^(us|us-gov|eu|apac|jp|au|in|global)\\./"

  # A profile is called in this Region and passes the call on to its model in others, so both must be allowed.
  model_arns = distinct(flatten([
    for model in var.allowed_models : startswith(model, "arn:") ? [model] : [
      "${local.arn}:bedrock:${var.deployment.region}:${var.deployment.account}:inference-profile/${model}",
      "${local.arn}:bedrock:*::foundation-model/${replace(model, local.geography, "")}",
    ]
  ]))
}

data "aws_iam_policy_document" "records" {
  statement {
    sid       = "Requests"
    actions   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
    resources = [var.requests_table.arn]
  }

  statement {
    sid       = "Backlog"
    actions   = ["dynamodb:Query"]
    resources = [var.requests_table.index_arn]
  }

  statement {
    sid       = "Reports"
    actions   = ["dynamodb:BatchWriteItem", "dynamodb:PutItem"]
    resources = [var.reporting_table.arn]
  }

  statement {
    sid       = "Bodies"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.bucket.arn}/*"]
  }

  # Without it S3 answers "forbidden" for a body that is missing.
  statement {
    sid       = "MissingBodies"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket.arn]
  }
}

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.deployment.region}.amazonaws.com", "sns.${var.deployment.region}.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "metrics" {
  #checkov:skip=CKV_AWS_111:CloudWatch has no resources for metrics; the namespace condition narrows writing down
  #checkov:skip=CKV_AWS_356:CloudWatch and Service Quotas have no resources for these actions

  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [var.metrics_namespace]
    }
  }
}

data "aws_iam_policy_document" "usage_feed" {
  #checkov:skip=CKV_AWS_356:CloudWatch has no resources for metrics

  dynamic "statement" {
    for_each = var.usage_feed ? [1] : []

    content {
      sid       = "UsageFeed"
      actions   = ["cloudwatch:GetMetricData"]
      resources = ["*"]
    }
  }
}

data "aws_iam_policy_document" "quotas" {
  #checkov:skip=CKV_AWS_356:Service Quotas has no resources for these actions

  statement {
    sid       = "Quotas"
    actions   = ["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"]
    resources = ["*"]
  }
}
