# What an analyst needs and nothing else, to be attached to people's roles: reading reports and exports, and asking Athena.

resource "aws_iam_policy" "analyst" {
  name        = "${var.deployment.name}-analyst"
  description = "Reads the reports and exports of ${var.deployment.name}, and asks Athena about them"
  policy      = data.aws_iam_policy_document.analyst.json
}

locals {
  arn     = "arn:${var.deployment.partition}"
  account = "${var.deployment.region}:${var.deployment.account}"
}

data "aws_iam_policy_document" "analyst" {
  #checkov:skip=CKV_AWS_356:Athena has no resources for listing workgroups and catalogs

  statement {
    sid       = "Reports"
    actions   = ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:PartiQLSelect"]
    resources = [var.reporting_table.arn]
  }

  # PartiQL without a day would read, and pay for, the whole table.
  statement {
    sid       = "NoFullScans"
    effect    = "Deny"
    actions   = ["dynamodb:PartiQLSelect"]
    resources = [var.reporting_table.arn]

    condition {
      test     = "Bool"
      variable = "dynamodb:FullTableScan"
      values   = ["true"]
    }
  }

  statement {
    sid       = "Exports"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket.arn}/${local.exports}*"]
  }

  statement {
    sid       = "Results"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${var.bucket.arn}/${local.results}*"]
  }

  statement {
    sid       = "ListExports"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.exports}*", "${local.results}*"]
    }
  }

  statement {
    sid       = "Bucket"
    actions   = ["s3:GetBucketLocation"]
    resources = [var.bucket.arn]
  }

  statement {
    sid     = "Catalog"
    actions = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"]
    resources = [
      "${local.arn}:glue:${local.account}:catalog",
      "${local.arn}:glue:${local.account}:database/${local.database}",
      "${local.arn}:glue:${local.account}:table/${local.database}/${local.table}",
    ]
  }

  statement {
    sid = "Queries"
    actions = [
      "athena:BatchGetQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetWorkGroup",
      "athena:ListQueryExecutions", "athena:StartQueryExecution", "athena:StopQueryExecution",
    ]
    resources = ["${local.arn}:athena:${local.account}:workgroup/${var.deployment.name}"]
  }

  # What the console asks for before it shows anything.
  statement {
    sid       = "Console"
    actions   = ["athena:ListDataCatalogs", "athena:ListWorkGroups"]
    resources = ["*"]
  }

  statement {
    sid       = "ConsoleCatalog"
    actions   = ["athena:GetDatabase", "athena:GetDataCatalog", "athena:GetTableMetadata", "athena:ListDatabases", "athena:ListTableMetadata"]
    resources = ["${local.arn}:athena:${local.account}:datacatalog/AwsDataCatalog"]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.deployment.region}.amazonaws.com"]
    }
  }
}
