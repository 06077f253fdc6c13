# Athena over the exports: a table that knows its days without a crawler, a workgroup with limits, and a policy for analysts.
# Nothing of it costs anything while nobody asks.

locals {
  database = replace(var.deployment.name, "-", "_")
  table    = "requests"
  exports  = "exports/"
  results  = "athena/"
  # Of a query; $0.50 at $5 a terabyte.
  bytes_scanned_cutoff = 107374182400
  # From src/ports/reports.rs, written by its tests.
  columns = jsondecode(file("${path.module}/columns.json"))
}

resource "aws_glue_catalog_database" "this" {
  name        = local.database
  description = "${var.deployment.name}: exports of the reporting table"
}

resource "aws_glue_catalog_table" "requests" {
  name          = local.table
  database_name = aws_glue_catalog_database.this.name
  description   = "One row per finished request; day by day, hour by hour"
  table_type    = "EXTERNAL_TABLE"

  # Athena works the days out by itself, and looks into folders only that a query asks for.
  parameters = {
    "EXTERNAL"                     = "TRUE"
    "classification"               = "parquet"
    "projection.enabled"           = "true"
    "projection.day.type"          = "date"
    "projection.day.format"        = "yyyy-MM-dd"
    "projection.day.range"         = "2026-01-01,NOW"
    "projection.day.interval"      = "1"
    "projection.day.interval.unit" = "DAYS"
    "storage.location.template"    = "s3://${var.bucket.name}/${local.exports}day=$${day}/"
  }

  partition_keys {
    name    = "day"
    type    = "string"
    comment = "The UTC day it finished, 2026-11-21."
  }

  storage_descriptor {
    location      = "s3://${var.bucket.name}/${local.exports}"
    input_format  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"

    ser_de_info {
      serialization_library = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
      parameters            = { "serialization.format" = "1" }
    }

    dynamic "columns" {
      for_each = local.columns

      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = columns.value.comment
      }
    }
  }
}

resource "aws_athena_workgroup" "this" {
  name          = var.deployment.name
  description   = "${var.deployment.name}: queries of analysts, results kept 7 days"
  force_destroy = true

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = local.bytes_scanned_cutoff

    result_configuration {
      output_location = "s3://${var.bucket.name}/${local.results}"

      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = var.key_arn
      }
    }
  }
}
