# Names, keys, index and time to live are those of src/aws/schema.rs, which `smoother schema` prints.
# The tables hold no prompts or answers, so AWS's own key encrypts them: no cost and no throttling of a key per row.

resource "aws_dynamodb_table" "requests" {
  #checkov:skip=CKV_AWS_119:Rows hold no prompts or answers; AWS's own key encrypts them without a key request per access

  name                        = "${var.deployment.name}-requests"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "request_id"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "request_id"
    type = "S"
  }

  attribute {
    name = "work_list"
    type = "S"
  }

  attribute {
    name = "work_sort"
    type = "S"
  }

  global_secondary_index {
    name            = "work-index"
    hash_key        = "work_list"
    range_key       = "work_sort"
    projection_type = "INCLUDE"
    non_key_attributes = [
      "lane", "tenant", "use_case", "priority", "rank", "estimate_input", "estimate_output", "deadline",
    ]
  }

  ttl {
    enabled        = true
    attribute_name = "expires_at"
  }

  point_in_time_recovery {
    enabled = true
  }
}

resource "aws_dynamodb_table" "reporting" {
  #checkov:skip=CKV_AWS_119:Rows hold no prompts or answers; AWS's own key encrypts them without a key request per access

  name                        = "${var.deployment.name}-reporting"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "day"
  range_key                   = "finished_key"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "day"
    type = "S"
  }

  attribute {
    name = "finished_key"
    type = "S"
  }

  ttl {
    enabled        = true
    attribute_name = "expires_at"
  }

  point_in_time_recovery {
    enabled = true
  }
}
