"""The settings of a deployment: the context of cdk.json, typed and judged. Every fault is reported at once."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .values import Reader, Unfit, flag, image, list_of, network, number, one_of, or_empty, tags, text, whole


@dataclass(frozen=True)
class Settings:
    """Named as the variables of the Terraform deployment. The defaults are those of cdk.json."""

    aws_region: str
    name: str
    """Starts the name of every resource."""
    notification_email: str
    average_request_duration: float
    """Seconds."""
    minutes_to_process: int
    max_concurrent_executions: int
    alarm_threshold: int
    alarm_evaluation_periods: int
    alert_cooldown: int
    """Seconds."""
    alert_webhook_secret_arn: str
    """Of a secret whose value is the URL that the workers' alerts are also posted to; empty for none."""
    dashboard_name: str
    metrics_namespace: str
    queue_depth_threshold: int
    image: str
    cpu_architecture: str
    cpu: int
    """1024 are one processor."""
    memory: int
    """MiB."""
    min_replicas: int
    max_replicas: int
    autoscaling: bool
    backlog_per_replica: int
    allowed_models: list[str]
    """Ids, patterns with `*`, or ARNs."""
    allowed_source_buckets: list[str]
    usage_feed: bool
    otlp_endpoint: str
    """Base URL of a collector of traces, OTLP over HTTP; empty for no traces."""
    trace_sample_ratio: float
    """From none (0) to all (1)."""
    settings_file: str
    """A TOML file, relative to where the cdk command runs; empty for none."""
    retention_days: int
    report_retention_days: int
    log_retention_days: int
    vpc_id: str
    """Empty for a VPC of its own."""
    subnet_ids: list[str]
    vpc_cidr: str
    assign_public_ip: bool
    gateway_enabled: bool
    gateway_replicas: int
    gateway_cidrs: list[str]
    certificate_arn: str
    discovery_schedule: str
    """Empty for no discovery."""
    discovery_role_arns: list[str]
    export_schedule: str
    """Empty for no exports."""
    analytics_enabled: bool
    deletion_protection: bool
    tags: dict[str, str]

    @property
    def partition(self) -> str:
        """What ARNs begin with in the Region."""
        for start, partition in (("us-gov-", "aws-us-gov"), ("cn-", "aws-cn")):
            if self.aws_region.startswith(start):
                return partition
        return "aws"

    @property
    def discovery_enabled(self) -> bool:
        return bool(self.discovery_schedule)

    @property
    def export_enabled(self) -> bool:
        return bool(self.export_schedule)

    @property
    def settings_text(self) -> str:
        """The text of the settings file, empty when there is none."""
        return Path(self.settings_file).read_text(encoding="utf-8") if self.settings_file else ""


class Faults(Exception):
    """Everything that is wrong with the context, a line each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__(
            "The settings in cdk.json or given with -c have faults, nothing was built:\n"
            + "\n".join(f"  {fault}" for fault in faults)
        )


_PREFIX = r"arn:aws[a-z-]*:"
_FARGATE_MEMORY = {
    256: [512, 1024, 2048],
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
_LOG_RETENTION_DAYS = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731] + [
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
]
_MOST_SETTINGS_BYTES = 32 * 1024
"""A task definition has 64 KiB, all else in it included."""

_SCHEDULE = or_empty(
    text(
        r"rate\([1-9][0-9]* (minutes?|hours?|days?)\)|cron\([^ ()]+( [^ ()]+){5}\)"
        r"|at\([0-9]{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)",
        "rate(1 day), cron(0 6 * * ? *) or at(2030-01-31T06:00:00)",
    )
)

_READERS: dict[str, Reader] = {
    "aws_region": text(r"[a-z]{2,}(-[a-z]+)+-[0-9]+", "an AWS Region such as us-east-1"),
    "name": text(r"[a-z][a-z0-9-]{0,31}", "1 to 32 characters of a-z 0-9 -, beginning with a letter"),
    "notification_email": text(
        r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+", "the e-mail address for the alarms, such as oncall@example.com"
    ),
    "average_request_duration": number(0.001, 3600),
    "minutes_to_process": whole(1, 1440),
    "max_concurrent_executions": whole(1, 100_000),
    "alarm_threshold": whole(1, 2**32 - 1),
    "alarm_evaluation_periods": whole(1, 100),
    "alert_cooldown": whole(1, 7 * 24 * 3600),
    "alert_webhook_secret_arn": or_empty(
        text(
            _PREFIX + r"secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+",
            "the ARN of a Secrets Manager secret",
        )
    ),
    "dashboard_name": text(r"[A-Za-z0-9_-]{1,128}", "1 to 128 characters of A-Z a-z 0-9 _ -"),
    "metrics_namespace": text(
        r"(?!AWS/)[A-Za-z0-9._/-]{1,128}", "1 to 128 characters of A-Z a-z 0-9 . _ - /, not beginning with AWS/"
    ),
    "queue_depth_threshold": whole(1, 100_000),
    "image": image,
    "cpu_architecture": one_of(["ARM64", "X86_64"]),
    "cpu": one_of(_FARGATE_MEMORY),
    "memory": whole(512, 122_880),
    "min_replicas": whole(1, 1000),
    "max_replicas": whole(1, 1000),
    "autoscaling": flag,
    "backlog_per_replica": whole(1, 10**9),
    "allowed_models": list_of(
        text(
            _PREFIX + r"bedrock:[a-z0-9*-]*:([0-9]{12}|\*)?:[a-z-]+/[A-Za-z0-9.:*/_-]+|(?!arn:)[A-Za-z0-9.:*_-]+",
            "a model id such as us.amazon.nova-lite-v1:0, a pattern such as anthropic.*, or a Bedrock ARN",
        )
    ),
    "allowed_source_buckets": list_of(
        text(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "an S3 bucket's name: 3 to 63 characters of a-z 0-9 . -")
    ),
    "usage_feed": flag,
    "otlp_endpoint": or_empty(
        text(
            r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
            "a URL such as http://collector.example.internal:4318",
        )
    ),
    "trace_sample_ratio": number(0, 1),
    "settings_file": or_empty(text(r".+", "the path of a TOML file")),
    "retention_days": whole(1, 3650),
    "report_retention_days": whole(1, 3650),
    "log_retention_days": one_of(_LOG_RETENTION_DAYS),
    "vpc_id": or_empty(text(r"vpc-[0-9a-f]+", "the id of a VPC such as vpc-0123456789abcdef0")),
    "subnet_ids": list_of(text(r"subnet-[0-9a-f]+", "the id of a subnet such as subnet-0123456789abcdef0")),
    # The smallest subnets are then /27, the least a load balancer takes.
    "vpc_cidr": network(16, 23),
    "assign_public_ip": flag,
    "gateway_enabled": flag,
    "gateway_replicas": whole(1, 1000),
    "gateway_cidrs": list_of(network(0, 32)),
    "certificate_arn": or_empty(
        text(_PREFIX + r"acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+", "the ARN of an ACM certificate")
    ),
    "discovery_schedule": _SCHEDULE,
    "discovery_role_arns": list_of(
        text(_PREFIX + r"iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+", "the ARN of an IAM role")
    ),
    "export_schedule": _SCHEDULE,
    "analytics_enabled": flag,
    "deletion_protection": flag,
    "tags": tags,
}
NAMES = [field.name for field in fields(Settings)]


def warnings(settings: Settings) -> dict[str, str]:
    """What can be meant so, and often is not, by a word for it."""
    gateway, found = settings.gateway_enabled, {}
    if gateway and not settings.certificate_arn:
        found["gateway-without-certificate"] = (
            "gateway_enabled without certificate_arn: prompts, answers and API keys cross the network as plain HTTP. "
            "Give the ARN of an ACM certificate unless every path to the load balancer is private."
        )
    if gateway and "0.0.0.0/0" in settings.gateway_cidrs:
        found["gateway-open-to-everybody"] = (
            "gateway_cidrs has 0.0.0.0/0: everybody can reach the gateway, and only API keys keep them out. "
            "List the networks of its users instead."
        )
    if "*" in settings.allowed_models:
        found["models-not-limited"] = (
            "allowed_models has *: the tasks may call every model, whatever it costs. List the models that are meant."
        )
    if not gateway and (settings.gateway_cidrs or settings.certificate_arn):
        found["gateway-settings-unused"] = (
            "gateway_cidrs or certificate_arn is set and gateway_enabled is false: there is no gateway. "
            "Give gateway_enabled true, or leave them out."
        )
    if not settings.discovery_enabled and settings.discovery_role_arns:
        found["discovery-settings-unused"] = (
            "discovery_role_arns is set and discovery_schedule is empty: nothing uses the roles. "
            "Give discovery_schedule, or leave them out."
        )
    return found


def read(context: Mapping[str, Any]) -> Settings:
    """The settings in `context`, which may hold other keys too. Values may be texts, as -c gives them.

    Raises:
        Faults: with all there are.
    """
    faults = [
        f"{key}: there is no such setting; did you mean {close[0]}?"
        for key in context
        if key not in NAMES and (close := difflib.get_close_matches(key, NAMES, 1, 0.8))
    ]
    values: dict[str, Any] = {}
    for name in NAMES:
        if name not in context:
            faults.append(f"{name}: is missing; take the line of the cdk.json that came with smoother")
            continue
        try:
            values[name] = _READERS[name](context[name])
        except Unfit as unfit:
            faults.append(f"{name}: is {_shown(context[name])}; give {unfit}")
    faults += _disagreements(values)
    if faults:
        raise Faults(faults)
    return Settings(**values)


def _shown(raw: Any) -> str:
    text = json.dumps(raw, ensure_ascii=False, default=str)
    return "empty" if raw in ("", None) else text if len(text) <= 80 else text[:79] + "…"


def _disagreements(values: dict[str, Any]) -> list[str]:
    """The faults of values that are right each, but not together; those unread are left out."""

    def known(*names: str) -> bool:
        return all(name in values for name in names)

    faults = []
    if known("cpu", "memory") and values["memory"] not in (sizes := _FARGATE_MEMORY[values["cpu"]]):
        faults.append(
            f"memory: is {values['memory']}; Fargate has, with cpu {values['cpu']}, {', '.join(map(str, sizes))}"
        )
    if known("min_replicas", "max_replicas") and values["max_replicas"] < values["min_replicas"]:
        faults.append(
            f"max_replicas: is {values['max_replicas']}, less than min_replicas, {values['min_replicas']}; raise it"
        )
    if known("allowed_models") and not values["allowed_models"]:
        faults.append("allowed_models: is empty, so no model could be called; list some")
    if known("vpc_id", "subnet_ids") and bool(values["vpc_id"]) != bool(values["subnet_ids"]):
        there, missing = ("vpc_id", "subnet_ids") if values["vpc_id"] else ("subnet_ids", "vpc_id")
        faults.append(f"{missing}: is empty, but {there} is not; give both for an existing VPC, none for a new one")
    if known("settings_file") and values["settings_file"]:
        faults += _settings_file_faults(values["settings_file"])
    if values.get("vpc_id") == "" and values.get("assign_public_ip") is False:
        faults.append(
            "assign_public_ip: is false without vpc_id, but the subnets of the VPC that is made are public, where a "
            "task without a public address reaches nothing; give true, or a vpc_id with subnets behind NAT or VPC "
            "endpoints"
        )
    if values.get("gateway_enabled"):
        faults += _gateway_faults(values)
    return faults


def _gateway_faults(values: dict[str, Any]) -> list[str]:
    faults = []
    if values.get("gateway_cidrs") == []:
        faults.append("gateway_cidrs: is empty, so nobody could reach the gateway; list the networks that may")
    if len(values.get("subnet_ids", [])) == 1:
        faults.append("subnet_ids: is one; the gateway's load balancer needs two in different Availability Zones")
    certificate, region = values.get("certificate_arn"), values.get("aws_region")
    if certificate and region and certificate.split(":")[3] != region:
        faults.append(
            f"certificate_arn: is of another Region than {region}, which its load balancer does not take; request one "
            "there"
        )
    if len(name := values.get("name", "")) > 24:
        faults.append(f"name: {name} has {len(name)} characters; a load balancer's name leaves 24 with the gateway")
    return faults


def _settings_file_faults(path: str) -> list[str]:
    try:
        content = Path(path).read_bytes()
        tomllib.loads(content.decode())
    except OSError as error:
        return [
            f"settings_file: {path} cannot be read ({error.strerror}) from {Path.cwd()}; give the path of a TOML file"
        ]
    except ValueError as error:
        return [f"settings_file: {path} is not TOML ({error}); correct it"]
    if len(content) > _MOST_SETTINGS_BYTES:
        return [
            f"settings_file: {path} has {len(content)} bytes, a task definition has room for {_MOST_SETTINGS_BYTES}; "
            "shorten it"
        ]
    return []
