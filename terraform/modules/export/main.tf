# Writes the reporting table to files for analysts, on a schedule. Hours that are over only, so that hardly any file is written
# twice, and nobody's query runs into a file that is being replaced.

module "scheduled" {
  source = "../scheduled"

  deployment        = var.deployment
  name              = "export"
  description       = "Exports the reporting table"
  command           = ["export", "--format", "parquet", "--to", "s3://${var.bucket.name}/${local.prefix}", "--whole-hours", "--json"]
  policy            = data.aws_iam_policy_document.export.json
  task              = var.task
  network           = var.network
  cluster           = var.cluster
  security_group_id = var.security_group_id
  schedule          = var.schedule
}

locals {
  prefix = "exports/"
}

data "aws_iam_policy_document" "export" {
  source_policy_documents = [var.access.key]

  statement {
    sid       = "Reports"
    actions   = ["dynamodb:Query"]
    resources = [var.reporting_table.arn]
  }

  statement {
    sid       = "Exports"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${var.bucket.arn}/${local.prefix}*"]
  }

  statement {
    sid       = "ListExports"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.prefix}*"]
    }
  }
}
