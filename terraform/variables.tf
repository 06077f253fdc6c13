# The same names, defaults and rules as the context of cdk/cdk.json. Where a variable is also a setting of the worker,
# its range is the worker's (docs/configuration.md), unless AWS is stricter.

# --- what every deployment says ---------------------------------------------------------------------------------------

variable "aws_region" {
  description = "The AWS Region of everything, and the one whose Bedrock is called."
  type        = string
  nullable    = false
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2,}(-[a-z]+)+-[0-9]+$", var.aws_region))
    error_message = "aws_region is \"${var.aws_region}\": expected a Region such as us-east-1."
  }
}

variable "name" {
  description = "Prefix of the name of everything that is made; two deployments in one account need two names."
  type        = string
  nullable    = false
  default     = "smoother"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name))
    error_message = "name is \"${var.name}\": expected 1 to 32 characters of a-z 0-9 -, beginning with a letter."
  }

  validation {
    condition     = !var.gateway_enabled || length(var.name) <= 24
    error_message = "name is \"${var.name}\": with gateway_enabled expected at most 24 characters, because a load balancer's name has 32 at most. Shorten it."
  }
}

variable "notification_email" {
  description = "Who receives the alarms. AWS sends this address a link that must be followed before anything arrives."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[^@\\s,;<>]+@[^@\\s,;<>.]+(\\.[^@\\s,;<>.]+)+$", var.notification_email))
    error_message = "notification_email is \"${var.notification_email}\": expected an e-mail address such as oncall@example.com."
  }
}

variable "image" {
  description = "The container image of smoother, by a tag that stays (not latest) or by digest. Private images must be in this account's ECR in this Region; others must be public."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image is \"${var.image}\": expected a container image with a tag or a digest, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/smoother:1.0.0."
  }

  validation {
    condition     = !endswith(var.image, ":latest")
    error_message = "image is \"${var.image}\": what runs would change without a deployment, and could not be rolled back. Name a version or a @sha256 digest."
  }
}

variable "tags" {
  description = "Further tags of everything, besides Project and ManagedBy."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.tags : !startswith(lower(key), "aws:") && length(key) >= 1 && length(key) <= 128 && length(value) <= 256])
    error_message = "tags has ${jsonencode(var.tags)}: expected keys of 1 to 128 characters that do not begin with aws:, and values of at most 256."
  }

  validation {
    condition     = length(var.tags) <= 40
    error_message = "tags has ${length(var.tags)} entries: AWS takes 50 on a resource, some of them its own. Give at most 40."
  }
}

# --- what the worker does ---------------------------------------------------------------------------------------------

variable "average_request_duration" {
  description = "How long a model call is expected to take before any was measured, in seconds."
  type        = number
  nullable    = false
  default     = 5

  validation {
    condition     = var.average_request_duration >= 0.001 && var.average_request_duration <= 3600
    error_message = "average_request_duration is ${var.average_request_duration}: expected 0.001 to 3600 seconds."
  }
}

variable "minutes_to_process" {
  description = "How many minutes of work the hold queue may hold for a lane; input older than this raises the alarm input-age."
  type        = number
  nullable    = false
  default     = 5

  validation {
    condition     = var.minutes_to_process >= 1 && var.minutes_to_process <= 1440 && floor(var.minutes_to_process) == var.minutes_to_process
    error_message = "minutes_to_process is ${var.minutes_to_process}: expected a whole number of minutes from 1 to 1440."
  }
}

variable "max_concurrent_executions" {
  description = "How many model calls the whole fleet may have in flight."
  type        = number
  nullable    = false
  default     = 30

  validation {
    condition     = var.max_concurrent_executions >= 1 && var.max_concurrent_executions <= 100000 && floor(var.max_concurrent_executions) == var.max_concurrent_executions
    error_message = "max_concurrent_executions is ${var.max_concurrent_executions}: expected a whole number from 1 to 100000."
  }
}

variable "queue_depth_threshold" {
  description = "How many messages the hold queue may hold."
  type        = number
  nullable    = false
  default     = 100

  validation {
    condition     = var.queue_depth_threshold >= 1 && var.queue_depth_threshold <= 100000 && floor(var.queue_depth_threshold) == var.queue_depth_threshold
    error_message = "queue_depth_threshold is ${var.queue_depth_threshold}: expected a whole number from 1 to 100000."
  }
}

variable "allowed_models" {
  description = "Models that may be asked for: model ids, inference profile ids, patterns with * for any characters, or Bedrock ARNs. The worker's IAM role allows these and no others. An application inference profile's ARN needs its foundation model listed too."
  type        = list(string)
  nullable    = false
  default     = ["amazon.*", "anthropic.*", "us.amazon.*", "us.anthropic.*"]

  validation {
    condition     = length(var.allowed_models) > 0
    error_message = "allowed_models is empty: nothing could be called. List at least one model id, pattern or ARN."
  }

  validation {
    condition = alltrue([
      for model in var.allowed_models :
      can(regex("^arn:aws[a-z-]*:bedrock:[a-z0-9*-]*:([0-9]{12}|\\*)?:[a-z-]+/[A-Za-z0-9.:*/_-]+$", model)) || (!startswith(model, "arn:") && can(regex("^[A-Za-z0-9.:*_-]+$", model)))
    ])
    error_message = "allowed_models is ${jsonencode(var.allowed_models)}: expected model ids such as us.amazon.nova-lite-v1:0, patterns such as anthropic.*, or ARNs of Bedrock models and profiles."
  }
}

variable "allowed_source_buckets" {
  description = "Names of the buckets that messages may point into for their bodies; the worker may read these. Objects under keys of your own KMS need a grant of yours."
  type        = list(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for bucket in var.allowed_source_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket))])
    error_message = "allowed_source_buckets is ${jsonencode(var.allowed_source_buckets)}: expected S3 bucket names of 3 to 63 characters of a-z 0-9 . - (names, not ARNs or URLs)."
  }
}

variable "usage_feed" {
  description = "Measures what others on the account use of the models' quotas and leaves it to them: about $0.43 a month per model in CloudWatch requests."
  type        = bool
  nullable    = false
  default     = false
}

variable "otlp_endpoint" {
  description = "Base URL of an OpenTelemetry collector that takes the workers' traces by OTLP over HTTP, such as http://collector.example.internal:4318; \"\" for no traces. The workers may reach its port at any address."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.otlp_endpoint == "" || can(regex("^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", var.otlp_endpoint))
    error_message = "otlp_endpoint is \"${var.otlp_endpoint}\": expected a URL such as http://collector.example.internal:4318, or \"\" for no traces."
  }
}

variable "trace_sample_ratio" {
  description = "How many of the traces that begin at the workers are recorded, from none (0) to all (1). A producer that sends a traceparent decides for its own."
  type        = number
  nullable    = false
  default     = 1

  validation {
    condition     = var.trace_sample_ratio >= 0 && var.trace_sample_ratio <= 1
    error_message = "trace_sample_ratio is ${var.trace_sample_ratio}: expected a number from 0 to 1."
  }
}

variable "settings_file" {
  description = "Path of a TOML file with any other settings of the worker (see smoother.example.toml), relative to where Terraform runs. What the variables here set counts more. Not for secrets: it is readable in the task definition."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.settings_file == "" || try(fileexists(var.settings_file), false)
    error_message = "settings_file is \"${var.settings_file}\": there is no such file. Give the path of a TOML file, or \"\" for none."
  }

  validation {
    # A task definition has 64 KiB at most, all else in it included.
    condition     = var.settings_file == "" || try(length(filebase64(var.settings_file)) * 3 / 4 <= 32 * 1024, true)
    error_message = "settings_file is \"${var.settings_file}\": it has more than 32 KiB, which a task definition cannot carry. Shorten it."
  }
}

variable "retention_days" {
  description = "How many days finished requests and their bodies are kept."
  type        = number
  nullable    = false
  default     = 30

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 3650 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days is ${var.retention_days}: expected a whole number of days from 1 to 3650."
  }
}

variable "report_retention_days" {
  description = "How many days the reporting table keeps a row. Exports keep theirs."
  type        = number
  nullable    = false
  default     = 400

  validation {
    condition     = var.report_retention_days >= 1 && var.report_retention_days <= 3650 && floor(var.report_retention_days) == var.report_retention_days
    error_message = "report_retention_days is ${var.report_retention_days}: expected a whole number of days from 1 to 3650."
  }
}

# --- how much of it runs ----------------------------------------------------------------------------------------------

variable "cpu_architecture" {
  description = "Processors of the tasks: ARM64 or X86_64. The image must be built for it."
  type        = string
  nullable    = false
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture is \"${var.cpu_architecture}\": expected ARM64 or X86_64."
  }
}

variable "cpu" {
  description = "CPU units of a task; 1024 are one vCPU."
  type        = number
  nullable    = false
  default     = 512

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "cpu is ${var.cpu}: Fargate has 256, 512, 1024, 2048, 4096, 8192 and 16384 CPU units."
  }
}

variable "memory" {
  description = "Memory of a task in MiB. Fargate pairs each cpu with certain sizes."
  type        = number
  nullable    = false
  default     = 1024

  validation {
    condition = try(contains({
      "256"   = [512, 1024, 2048]
      "512"   = range(1024, 4096 + 1, 1024)
      "1024"  = range(2048, 8192 + 1, 1024)
      "2048"  = range(4096, 16384 + 1, 1024)
      "4096"  = range(8192, 30720 + 1, 1024)
      "8192"  = range(16384, 61440 + 1, 4096)
      "16384" = range(32768, 122880 + 1, 8192)
    }[tostring(var.cpu)], var.memory), false)
    error_message = "memory is ${var.memory}: Fargate does not have it with cpu ${var.cpu}. Sizes in MiB by cpu: 256: 512, 1024, 2048; 512: 1024-4096; 1024: 2048-8192; 2048: 4096-16384; 4096: 8192-30720, in steps of 1024; 8192: 16384-61440 in steps of 4096; 16384: 32768-122880 in steps of 8192."
  }
}

variable "min_replicas" {
  description = "The fewest workers. Without autoscaling it is how many are started at the first deployment; later, ECS is told (aws ecs update-service --desired-count)."
  type        = number
  nullable    = false
  default     = 1

  validation {
    condition     = var.min_replicas >= 1 && var.min_replicas <= 1000 && floor(var.min_replicas) == var.min_replicas
    error_message = "min_replicas is ${var.min_replicas}: expected a whole number from 1 to 1000."
  }
}

variable "max_replicas" {
  description = "The most workers that autoscaling starts."
  type        = number
  nullable    = false
  default     = 4

  validation {
    condition     = var.max_replicas >= 1 && var.max_replicas <= 1000 && floor(var.max_replicas) == var.max_replicas
    error_message = "max_replicas is ${var.max_replicas}: expected a whole number from 1 to 1000."
  }

  validation {
    condition     = var.max_replicas >= var.min_replicas
    error_message = "max_replicas is ${var.max_replicas} and min_replicas is ${var.min_replicas}: expected max_replicas to be at least min_replicas."
  }
}

variable "autoscaling" {
  description = "Starts and stops workers by the backlog per worker. One worker calls Bedrock at full quota in most accounts; more are for taking in bursts and for availability."
  type        = bool
  nullable    = false
  default     = true
}

variable "backlog_per_replica" {
  description = "How many waiting requests a worker is to have before autoscaling starts another."
  type        = number
  nullable    = false
  default     = 5000

  validation {
    condition     = var.backlog_per_replica >= 1 && floor(var.backlog_per_replica) == var.backlog_per_replica
    error_message = "backlog_per_replica is ${var.backlog_per_replica}: expected a whole number of requests, 1 or more."
  }
}

# --- network ----------------------------------------------------------------------------------------------------------

variable "vpc_id" {
  description = "An existing VPC to run in; \"\" makes one. Its subnets need a way to AWS's endpoints: an internet or NAT gateway, or VPC endpoints."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.vpc_id == "" || can(regex("^vpc-[0-9a-f]+$", var.vpc_id))
    error_message = "vpc_id is \"${var.vpc_id}\": expected the id of a VPC such as vpc-0123456789abcdef0, or \"\" to make one."
  }

  validation {
    condition     = (var.vpc_id == "") == (length(var.subnet_ids) == 0)
    error_message = "vpc_id is \"${var.vpc_id}\" and subnet_ids is ${jsonencode(var.subnet_ids)}: give both to use an existing network, or neither to have one made."
  }
}

variable "subnet_ids" {
  description = "Subnets of vpc_id to run in; with the gateway at least two, public, in different zones."
  type        = list(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))]) && length(distinct(var.subnet_ids)) == length(var.subnet_ids)
    error_message = "subnet_ids is ${jsonencode(var.subnet_ids)}: expected ids such as subnet-0123456789abcdef0, each once."
  }

  validation {
    condition     = !var.gateway_enabled || length(var.subnet_ids) != 1
    error_message = "subnet_ids has one subnet: the gateway's load balancer needs at least two, in different zones. Add one, or set gateway_enabled = false."
  }
}

variable "vpc_cidr" {
  description = "IPv4 range of the VPC that is made, /16 to /23. Two subnets take a sixteenth of it each."
  type        = string
  nullable    = false
  default     = "10.83.0.0/16"

  validation {
    # The smallest subnets are then /27, the least a load balancer takes.
    condition     = try(cidrsubnet(var.vpc_cidr, 0, 0) == var.vpc_cidr && !strcontains(var.vpc_cidr, ":") && contains(range(16, 24), tonumber(split("/", var.vpc_cidr)[1])), false)
    error_message = "vpc_cidr is \"${var.vpc_cidr}\": expected an IPv4 network from /16 to /23 by its first address, such as 10.83.0.0/16."
  }
}

variable "assign_public_ip" {
  description = "Gives tasks public addresses, which they need in public subnets to reach AWS; nothing can connect to them. false for subnets with a NAT gateway or VPC endpoints."
  type        = bool
  nullable    = false
  default     = true

  validation {
    condition     = var.assign_public_ip || var.vpc_id != ""
    error_message = "assign_public_ip is false and vpc_id is \"\": the network that is made has public subnets only, where a task without a public address reaches nothing. Set it to true, or give a vpc_id with subnet_ids that have a NAT gateway or VPC endpoints."
  }
}

# --- gateway ----------------------------------------------------------------------------------------------------------

variable "gateway_enabled" {
  description = "Deploys the OpenAI-compatible gateway behind a load balancer. Needs an image whose smoother has the command serve."
  type        = bool
  nullable    = false
  default     = false
}

variable "gateway_replicas" {
  description = "How many gateway tasks run."
  type        = number
  nullable    = false
  default     = 2

  validation {
    condition     = var.gateway_replicas >= 1 && var.gateway_replicas <= 1000 && floor(var.gateway_replicas) == var.gateway_replicas
    error_message = "gateway_replicas is ${var.gateway_replicas}: expected a whole number from 1 to 1000."
  }
}

variable "gateway_cidrs" {
  description = "IPv4 ranges that may reach the gateway's load balancer. Required with gateway_enabled."
  type        = list(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for cidr in var.gateway_cidrs : try(cidrsubnet(cidr, 0, 0) == cidr && !strcontains(cidr, ":"), false)]) && length(distinct(var.gateway_cidrs)) == length(var.gateway_cidrs)
    error_message = "gateway_cidrs is ${jsonencode(var.gateway_cidrs)}: expected IPv4 networks by their first address, each once, such as 203.0.113.0/24 or 198.51.100.7/32."
  }

  validation {
    condition     = !var.gateway_enabled || length(var.gateway_cidrs) > 0
    error_message = "gateway_cidrs is empty and gateway_enabled is true: nobody could reach the gateway. List who may, such as [\"203.0.113.0/24\"]; everybody is [\"0.0.0.0/0\"]."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the gateway: HTTPS on 443, and 80 redirects there. Without it plain HTTP on 80."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.certificate_arn == "" || can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$", var.certificate_arn))
    error_message = "certificate_arn is \"${var.certificate_arn}\": expected the ARN of an ACM certificate, arn:aws:acm:REGION:ACCOUNT:certificate/ID, or \"\" for none."
  }

  validation {
    condition     = !startswith(var.certificate_arn, "arn:") || try(split(":", var.certificate_arn)[3] == var.aws_region, true)
    error_message = "certificate_arn is \"${var.certificate_arn}\" and aws_region is \"${var.aws_region}\": a load balancer takes certificates of its own Region only. Request one there."
  }
}

# --- discovery --------------------------------------------------------------------------------------------------------

variable "discovery_schedule" {
  description = "When to look for new models, as an EventBridge Scheduler expression such as rate(1 day) or cron(0 6 * * ? *) in UTC; \"\" for never. Needs an image whose smoother has the command discover."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.discovery_schedule == "" || can(regex("^(rate\\([1-9][0-9]* (minute|minutes|hour|hours|day|days)\\)|cron\\([^ ()]+( [^ ()]+){5}\\)|at\\([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\))$", var.discovery_schedule))
    error_message = "discovery_schedule is \"${var.discovery_schedule}\": expected rate(1 day), cron(0 6 * * ? *), at(2030-01-31T06:00:00), or \"\" for never."
  }
}

variable "discovery_role_arns" {
  description = "Roles in other accounts that discovery may assume to see the models there; each must trust the role NAME-discovery."
  type        = list(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for arn in var.discovery_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "discovery_role_arns is ${jsonencode(var.discovery_role_arns)}: expected ARNs of IAM roles, arn:aws:iam::ACCOUNT:role/NAME."
  }
}

# --- analysts ---------------------------------------------------------------------------------------------------------

variable "export_schedule" {
  description = "When to export the reporting table to Parquet files in the bucket, as an EventBridge Scheduler expression such as rate(1 hour) or cron(5 * * * ? *) in UTC; \"\" for never."
  type        = string
  nullable    = false
  default     = "rate(1 hour)"

  validation {
    condition     = var.export_schedule == "" || can(regex("^(rate\\([1-9][0-9]* (minute|minutes|hour|hours|day|days)\\)|cron\\([^ ()]+( [^ ()]+){5}\\)|at\\([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\))$", var.export_schedule))
    error_message = "export_schedule is \"${var.export_schedule}\": expected rate(1 hour), cron(5 * * * ? *), at(2030-01-31T06:00:00), or \"\" for never."
  }
}

variable "analytics_enabled" {
  description = "Whether there are a Glue table over the exports, an Athena workgroup and a policy for analysts. They cost nothing while nobody asks."
  type        = bool
  nullable    = false
  default     = true
}

# --- watching and keeping ---------------------------------------------------------------------------------------------

variable "alarm_threshold" {
  description = "How many Bedrock errors of one kind in a minute raise an alarm."
  type        = number
  nullable    = false
  default     = 5

  validation {
    condition     = var.alarm_threshold >= 1 && var.alarm_threshold <= 4294967295 && floor(var.alarm_threshold) == var.alarm_threshold
    error_message = "alarm_threshold is ${var.alarm_threshold}: expected a whole number from 1 to 4294967295."
  }
}

variable "alarm_evaluation_periods" {
  description = "For how many minutes in a row there must be so many."
  type        = number
  nullable    = false
  default     = 1

  validation {
    condition     = var.alarm_evaluation_periods >= 1 && var.alarm_evaluation_periods <= 100 && floor(var.alarm_evaluation_periods) == var.alarm_evaluation_periods
    error_message = "alarm_evaluation_periods is ${var.alarm_evaluation_periods}: expected a whole number from 1 to 100."
  }
}

variable "alert_cooldown" {
  description = "For how many seconds on-call is not told again by a worker of the same condition; what happens meanwhile is summed up."
  type        = number
  nullable    = false
  default     = 900

  validation {
    condition     = var.alert_cooldown >= 1 && var.alert_cooldown <= 604800 && floor(var.alert_cooldown) == var.alert_cooldown
    error_message = "alert_cooldown is ${var.alert_cooldown}: expected a whole number of seconds from 1 to 604800."
  }
}

variable "alert_webhook_secret_arn" {
  description = "ARN of a Secrets Manager secret whose value is the URL that the workers' alerts are also posted to; \"\" for none. The secret is encrypted with AWS's own key or with the deployment's."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.alert_webhook_secret_arn == "" || can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$", var.alert_webhook_secret_arn))
    error_message = "alert_webhook_secret_arn is \"${var.alert_webhook_secret_arn}\": expected the ARN of a secret, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, or \"\" for none."
  }
}

variable "dashboard_name" {
  description = "Name of the CloudWatch dashboard; dashboards of one account share their names across Regions."
  type        = string
  nullable    = false
  default     = "bedrock-errors"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.dashboard_name))
    error_message = "dashboard_name is \"${var.dashboard_name}\": expected 1 to 128 characters of A-Z a-z 0-9 _ -."
  }
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of the worker's metrics, alarms and dashboard. Of its own for each deployment in one account and Region: their figures would be added up otherwise."
  type        = string
  nullable    = false
  default     = "Smoother"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]{1,128}$", var.metrics_namespace)) && !startswith(var.metrics_namespace, "AWS/")
    error_message = "metrics_namespace is \"${var.metrics_namespace}\": expected 1 to 128 characters of A-Z a-z 0-9 . _ - /, not beginning with AWS/, such as Smoother/staging."
  }
}

variable "log_retention_days" {
  description = "How many days logs are kept. CloudWatch has certain numbers only."
  type        = number
  nullable    = false
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is ${var.log_retention_days}: CloudWatch has 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 and 3653."
  }
}

variable "deletion_protection" {
  description = "Refuses to delete the tables and the load balancer, and waits 30 days before a deleted key or secret is gone. To tear down, apply with false first."
  type        = bool
  nullable    = false
  default     = true
}
