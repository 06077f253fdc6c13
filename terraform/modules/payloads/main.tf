# The bucket of request and result bodies. Bucket names are shared by the whole world, hence the account's number.

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:Who reads bodies is seen in CloudTrail data events, where an account wants them; access logs need a bucket of their own
  #checkov:skip=CKV_AWS_144:Bodies are needed where their requests are worked on; a copy in another Region would double their cost
  #checkov:skip=CKV2_AWS_62:Results are announced on the results queue, with where they are

  bucket = "${var.deployment.name}-bedrock-calls-${var.deployment.account}"
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    # Asks KMS once in a while instead of once per body.
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.key_arn
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  # Rules on versions need versions.
  bucket = aws_s3_bucket_versioning.this.bucket

  # Bodies go with the rows that name them, results of queries in a week; what else is here, exports above all, stays.
  dynamic "rule" {
    for_each = { requests = var.retention_days, results = var.retention_days, rejected = var.retention_days, uploads = var.retention_days, athena = 7 }

    content {
      id     = "retention-${rule.key}"
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      expiration {
        days = rule.value
      }
    }
  }

  rule {
    id     = "versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 1
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  # S3 does not take this together with days in one rule.
  rule {
    id     = "delete-markers"
    status = "Enabled"

    filter {}

    expiration {
      expired_object_delete_marker = true
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  # S3 refuses a policy while it still changes what is public.
  bucket = aws_s3_bucket_public_access_block.this.bucket
  policy = data.aws_iam_policy_document.tls_only.json
}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
