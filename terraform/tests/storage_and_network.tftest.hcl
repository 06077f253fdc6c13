# Queues, tables, bucket, key and network, each module alone under a mocked AWS.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  deployment          = { name = "smoother", region = "us-east-1", account = "123456789012", partition = "aws" }
  deletion_protection = true
  key_arn             = "arn:aws:kms:us-east-1:123456789012:key/k"
  retention_days      = 30
  cidr                = "10.83.0.0/16"
  availability_zones  = ["us-east-1a", "us-east-1b", "us-east-1c"]
}

run "queues" {
  module {
    source = "./modules/queues"
  }

  assert {
    condition = output.names == {
      input     = "smoother-input"
      input_dlq = "smoother-input-dlq"
      results   = "smoother-bedrock-results"
      hold      = "smoother-hold-next-batch"
      hold_dlq  = "smoother-hold-next-batch-dlq"
    }
    error_message = "queues are named ${jsonencode(output.names)}"
  }

  assert {
    condition = alltrue([
      for queue in aws_sqs_queue.this :
      queue.visibility_timeout_seconds == 60 && queue.message_retention_seconds == 1209600 && queue.sqs_managed_sse_enabled && queue.max_message_size == 262144
    ])
    error_message = "a queue has other times, another size, or no encryption"
  }

  assert {
    condition = { for key, policy in aws_sqs_queue_redrive_policy.this : key => policy.redrive_policy } == {
      input = jsonencode({ deadLetterTargetArn = aws_sqs_queue.this["input_dlq"].arn, maxReceiveCount = 5 })
      hold  = jsonencode({ deadLetterTargetArn = aws_sqs_queue.this["hold_dlq"].arn, maxReceiveCount = 3 })
    }
    error_message = "redrive is ${jsonencode({ for key, policy in aws_sqs_queue_redrive_policy.this : key => policy.redrive_policy })}"
  }

  assert {
    condition = { for key, policy in aws_sqs_queue_redrive_allow_policy.this : policy.queue_url => policy.redrive_allow_policy } == {
      (aws_sqs_queue.this["input_dlq"].id) = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.this["input"].arn] })
      (aws_sqs_queue.this["hold_dlq"].id)  = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.this["hold"].arn] })
    }
    error_message = "a dead-letter queue takes from others than its own queue"
  }

  assert {
    condition = length(aws_sqs_queue_policy.this) == 5 && alltrue([
      for key, document in data.aws_iam_policy_document.tls_only :
      document.statement[0].effect == "Deny" && document.statement[0].actions == toset(["sqs:*"]) && document.statement[0].resources == toset([aws_sqs_queue.this[key].arn]) && one(document.statement[0].condition).variable == "aws:SecureTransport"
    ])
    error_message = "a queue can be used without TLS"
  }
}

run "tables" {
  module {
    source = "./modules/tables"
  }

  assert {
    condition     = aws_dynamodb_table.requests.name == "smoother-requests" && aws_dynamodb_table.requests.hash_key == "request_id" && aws_dynamodb_table.requests.range_key == null
    error_message = "the requests table has another name or other keys than src/aws/schema.rs"
  }

  assert {
    condition = [for index in aws_dynamodb_table.requests.global_secondary_index : [index.name, index.hash_key, index.range_key, index.projection_type, join(" ", sort(index.non_key_attributes))]] == [
      ["work-index", "work_list", "work_sort", "INCLUDE", "deadline estimate_input estimate_output lane priority rank tenant use_case"]
    ]
    error_message = "the index is otherwise than src/aws/schema.rs"
  }

  assert {
    condition     = aws_dynamodb_table.reporting.name == "smoother-reporting" && aws_dynamodb_table.reporting.hash_key == "day" && aws_dynamodb_table.reporting.range_key == "finished_key"
    error_message = "the reporting table has another name or other keys than src/aws/schema.rs"
  }

  assert {
    condition = alltrue([
      for table in [aws_dynamodb_table.requests, aws_dynamodb_table.reporting] :
      table.billing_mode == "PAY_PER_REQUEST" && table.point_in_time_recovery[0].enabled && table.ttl[0].enabled && table.ttl[0].attribute_name == "expires_at" && table.deletion_protection_enabled
    ])
    error_message = "a table is not on demand, or has no recovery, no expiry or no protection"
  }
}

run "tables_without_deletion_protection" {
  command = plan

  module {
    source = "./modules/tables"
  }

  variables {
    deletion_protection = false
  }

  assert {
    condition     = !aws_dynamodb_table.requests.deletion_protection_enabled && !aws_dynamodb_table.reporting.deletion_protection_enabled
    error_message = "tables are protected though that is off"
  }
}

run "payloads" {
  module {
    source = "./modules/payloads"
  }

  assert {
    condition     = aws_s3_bucket.this.bucket == "smoother-bedrock-calls-123456789012" && aws_s3_bucket.this.force_destroy != true
    error_message = "the bucket has another name, or is deleted with what is in it"
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.block_public_policy && aws_s3_bucket_public_access_block.this.ignore_public_acls && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    error_message = "the bucket can be made public"
  }

  assert {
    condition = one([
      for rule in aws_s3_bucket_server_side_encryption_configuration.this.rule :
      rule.bucket_key_enabled ? one(rule.apply_server_side_encryption_by_default) : null
    ]) == { sse_algorithm = "aws:kms", kms_master_key_id = var.key_arn }
    error_message = "bodies are not encrypted with the key, by way of a bucket key"
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled" && one(aws_s3_bucket_ownership_controls.this.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "versions are off, or others can own objects"
  }

  assert {
    condition = (
      { for rule in aws_s3_bucket_lifecycle_configuration.this.rule : one(rule.filter).prefix => one(rule.expiration).days if startswith(rule.id, "retention-") } ==
      { "requests/" = 30, "results/" = 30, "rejected/" = 30, "uploads/" = 30, "athena/" = 7 } &&
      one(one([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule if rule.id == "versions"]).noncurrent_version_expiration).noncurrent_days == 1 &&
      one(one([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule if rule.id == "versions"]).abort_incomplete_multipart_upload).days_after_initiation == 1 &&
      one(one([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule if rule.id == "delete-markers"]).expiration).expired_object_delete_marker &&
      alltrue([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.status == "Enabled"])
    )
    error_message = "bodies are kept for other times"
  }

  assert {
    condition     = data.aws_iam_policy_document.tls_only.statement[0].effect == "Deny" && data.aws_iam_policy_document.tls_only.statement[0].resources == toset([aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]) && one(data.aws_iam_policy_document.tls_only.statement[0].condition).variable == "aws:SecureTransport"
    error_message = "the bucket can be used without TLS"
  }
}

run "network" {
  module {
    source = "./modules/network"
  }

  assert {
    condition     = aws_vpc.this.cidr_block == "10.83.0.0/16" && aws_vpc.this.enable_dns_support && aws_vpc.this.enable_dns_hostnames
    error_message = "the VPC has another range or no DNS"
  }

  assert {
    condition = [for subnet in aws_subnet.public : [subnet.cidr_block, subnet.availability_zone, subnet.tags.Name]] == [
      ["10.83.0.0/20", "us-east-1a", "smoother-public-1"],
      ["10.83.16.0/20", "us-east-1b", "smoother-public-2"],
    ]
    error_message = "subnets are ${jsonencode([for subnet in aws_subnet.public : [subnet.cidr_block, subnet.availability_zone, subnet.tags.Name]])}"
  }

  assert {
    condition     = aws_route.internet.destination_cidr_block == "0.0.0.0/0" && aws_route.internet.gateway_id == aws_internet_gateway.this.id && toset(aws_route_table_association.public[*].subnet_id) == toset(aws_subnet.public[*].id)
    error_message = "a subnet has no way to the internet"
  }

  assert {
    condition     = toset([for endpoint in aws_vpc_endpoint.gateway : endpoint.service_name]) == toset(["com.amazonaws.us-east-1.s3", "com.amazonaws.us-east-1.dynamodb"]) && alltrue([for endpoint in aws_vpc_endpoint.gateway : endpoint.vpc_endpoint_type == "Gateway" && endpoint.route_table_ids == toset([aws_route_table.public.id])])
    error_message = "S3 and DynamoDB are not reached by gateway endpoints"
  }
}

run "network_in_a_region_with_one_zone" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    availability_zones = ["us-east-1a"]
  }

  expect_failures = [var.availability_zones]
}
