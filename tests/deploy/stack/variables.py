"""What the deployments under test are given: every switch on, and nothing that is a default by chance."""

ACCOUNT = "000000000000"
REGION = "us-east-1"
NAME = "proof"
SOURCE_BUCKET = f"{NAME}-source"
OWN_PROFILE = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:application-inference-profile/abcdefghijkl"
WEBHOOK_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:on-call/webhook-AbCdEf"

# The worker's other settings, so that a run takes seconds. The deployments pass the file's text on.
SETTINGS = """\
retry_base = "100ms"
hold_visibility = "2s"
input_visibility = "2s"
plan_interval = "200ms"

[models."us.amazon.nova-pro-v1:0"]
max_output_tokens = 200_000

[use_cases.summaries]
model = "us.amazon.nova-lite-v1:0"
"""

EVERYTHING = {
    "aws_region": REGION,
    "name": NAME,
    "notification_email": "on-call@example.com",
    "average_request_duration": 4,
    "minutes_to_process": 6,
    "max_concurrent_executions": 8,
    "alarm_threshold": 7,
    "alarm_evaluation_periods": 2,
    "alert_cooldown": 120,
    "alert_webhook_secret_arn": WEBHOOK_SECRET,
    "dashboard_name": "proof-errors",
    "metrics_namespace": "Smoother/proof",
    "queue_depth_threshold": 90,
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/smoother:1.0.0",
    "cpu_architecture": "X86_64",
    "cpu": 1024,
    "memory": 2048,
    "min_replicas": 2,
    "max_replicas": 5,
    "autoscaling": True,
    "backlog_per_replica": 4000,
    "allowed_models": [
        "amazon.*",
        "anthropic.*",
        "us.amazon.*",
        "us.anthropic.*",
        OWN_PROFILE,
    ],
    "allowed_source_buckets": [SOURCE_BUCKET],
    "usage_feed": True,
    "otlp_endpoint": "http://127.0.0.1:4318",
    "trace_sample_ratio": 0.25,
    "retention_days": 20,
    "report_retention_days": 300,
    "log_retention_days": 180,
    "vpc_cidr": "10.84.0.0/16",
    "gateway_enabled": True,
    "gateway_replicas": 3,
    "gateway_cidrs": ["203.0.113.0/24", "198.51.100.0/24"],
    "certificate_arn": "arn:aws:acm:us-east-1:000000000000:certificate/12345678-1234-1234-1234-123456789012",
    "discovery_schedule": "rate(1 day)",
    "discovery_role_arns": ["arn:aws:iam::111122223333:role/discovery"],
    "export_schedule": "rate(2 hours)",
    "analytics_enabled": True,
    "deletion_protection": True,
    "tags": {"Team": "ml-platform"},
}
# What has to be said, and nothing else.
DEFAULTS = {name: EVERYTHING[name] for name in ("notification_email", "image")}
# Every switch off: what a deployment is changed to before it is torn down. The network stays where it is.
LITTLE = {
    **DEFAULTS,
    "name": NAME,
    "vpc_cidr": EVERYTHING["vpc_cidr"],
    "export_schedule": "",
    "analytics_enabled": False,
    "deletion_protection": False,
}
