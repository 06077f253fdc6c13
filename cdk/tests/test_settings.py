import subprocess
import sys
from dataclasses import asdict

import pytest
from deployment import CERTIFICATE, DISCOVERY, EXISTING, GATEWAY, HERE, SHIPPED, context

from smoother.settings import NAMES, Faults, read, warnings


def faults(**given):
    with pytest.raises(Faults) as raised:
        read(context(**given))
    return raised.value.faults


def test_the_shipped_context_has_every_setting_and_lacks_two_values():
    assert list(SHIPPED) == NAMES
    with pytest.raises(Faults) as raised:
        read(SHIPPED)
    assert [fault.split(":")[0] for fault in raised.value.faults] == ["notification_email", "image"]
    assert all("is empty; give " in fault for fault in raised.value.faults)


def test_shipped_values_are_read_as_they_are():
    assert asdict(read(context())) == context()


def test_texts_are_read_as_the_command_line_gives_them():
    read_settings = read(
        context(
            cpu="1024",
            memory=" 2048",
            average_request_duration="0.5",
            autoscaling="false",
            usage_feed="true",
            allowed_models="amazon.*, anthropic.*,",
            gateway_cidrs='["10.0.0.0/8"]',
            tags="team=search, stage=prod=eu",
        )
    )
    assert (read_settings.cpu, read_settings.memory, read_settings.average_request_duration) == (1024, 2048, 0.5)
    assert (read_settings.autoscaling, read_settings.usage_feed) == (False, True)
    assert read_settings.allowed_models == ["amazon.*", "anthropic.*"]
    assert read_settings.gateway_cidrs == ["10.0.0.0/8"]
    assert read_settings.tags == {"team": "search", "stage": "prod=eu"}
    assert read(context(tags='{"a": "b,c"}')).tags == {"a": "b,c"}
    assert read(context(average_request_duration="5")).average_request_duration == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aws_region", "Ireland"),
        ("aws_region", "us-east-1 "[::-1]),
        ("name", "Smoother"),
        ("name", "9"),
        ("name", "s" * 33),
        ("notification_email", "oncall"),
        ("notification_email", "a@b"),
        ("notification_email", "a@b.org,c@d.org"),
        ("average_request_duration", 0),
        ("average_request_duration", 3601),
        ("average_request_duration", "fast"),
        ("average_request_duration", "nan"),
        ("minutes_to_process", 0),
        ("minutes_to_process", 1441),
        ("minutes_to_process", 1.5),
        ("max_concurrent_executions", 0),
        ("max_concurrent_executions", 100_001),
        ("alarm_threshold", 0),
        ("alarm_threshold", 2**32),
        ("alarm_evaluation_periods", 0),
        ("alarm_evaluation_periods", 101),
        ("alarm_evaluation_periods", True),
        ("alert_cooldown", 0),
        ("alert_cooldown", 604_801),
        ("alert_webhook_secret_arn", "https://hooks.example.com/x"),
        ("dashboard_name", "a.b"),
        ("queue_depth_threshold", 0),
        ("image", "registry.example/smoother"),
        ("image", "registry.example/smoother:latest"),
        ("image", "registry.example:5000/smoother"),
        ("image", "smoother@sha256:0a"),
        ("image", ["smoother:1"]),
        ("cpu_architecture", "arm64"),
        ("cpu", 500),
        ("cpu", True),
        ("memory", "1G"),
        ("min_replicas", 0),
        ("max_replicas", 1001),
        ("autoscaling", "yes"),
        ("autoscaling", 1),
        ("backlog_per_replica", 0),
        ("allowed_models", "us.amazon nova"),
        ("allowed_models", ["arn:aws:s3:::models"]),
        ("allowed_models", {"a": 1}),
        ("allowed_source_buckets", ["Our-Bucket"]),
        ("allowed_source_buckets", ["s3://bucket"]),
        ("usage_feed", None),
        ("otlp_endpoint", "collector:4318"),
        ("otlp_endpoint", "http://a:b@collector:4318"),
        ("otlp_endpoint", "http://collector:4318?x=1"),
        ("trace_sample_ratio", 1.1),
        ("trace_sample_ratio", -0.1),
        ("trace_sample_ratio", "half"),
        ("retention_days", 0),
        ("retention_days", 3651),
        ("log_retention_days", 10),
        ("vpc_cidr", "10.83.0.1/16"),
        ("vpc_cidr", "10.0.0.0/8"),
        ("vpc_cidr", "10.83.0.0/24"),
        ("vpc_cidr", "10.83.0.0"),
        ("assign_public_ip", "no"),
        ("gateway_enabled", ""),
        ("gateway_replicas", 0),
        ("gateway_cidrs", ["everybody"]),
        ("gateway_cidrs", ["10.0.0.0/8", "10.0.0.0/8"]),
        ("gateway_cidrs", ["::/0"]),
        ("certificate_arn", "arn:aws:iam::123456789012:server-certificate/x"),
        ("discovery_schedule", "daily"),
        ("export_schedule", "hourly"),
        ("analytics_enabled", "yes"),
        ("report_retention_days", 0),
        ("discovery_schedule", "cron(0 6 * *)"),
        ("discovery_role_arns", ["models"]),
        ("deletion_protection", "maybe"),
        ("tags", "team"),
        ("tags", ["team"]),
        ("tags", {"aws:team": "x"}),
        ("tags", {"team": 1}),
        ("tags", {"": "x"}),
        ("tags", {str(number): "x" for number in range(41)}),
        ("settings_file", "no-such-file.toml"),
        ("settings_file", 1),
    ],
)
def test_a_value_that_does_not_fit_is_a_fault(name, value):
    (fault,) = faults(**{name: value})
    assert fault.startswith(f"{name}: ")
    assert "give" in fault


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"cpu": 256, "memory": 4096}, "memory: is 4096; Fargate has, with cpu 256, 512, 1024, 2048"),
        ({"min_replicas": 5}, "max_replicas: is 4, less than min_replicas, 5"),
        ({"allowed_models": []}, "allowed_models: is empty"),
        ({"vpc_id": "vpc-0123456789abcdef0"}, "subnet_ids: is empty, but vpc_id is not"),
        ({"subnet_ids": ["subnet-0123456789abcdef0"]}, "vpc_id: is empty, but subnet_ids is not"),
        ({"assign_public_ip": False}, "assign_public_ip: is false without vpc_id"),
        ({"gateway_enabled": True}, "gateway_cidrs: is empty"),
        (GATEWAY | EXISTING | {"subnet_ids": ["subnet-0123456789abcdef0"]}, "subnet_ids: is one"),
        (GATEWAY | {"name": "s" * 25}, "has 25 characters"),
        (GATEWAY | CERTIFICATE | {"aws_region": "eu-west-1"}, "certificate_arn: is of another Region than eu-west-1"),
    ],
)
def test_values_that_do_not_go_together_are_a_fault(given, expected):
    (fault,) = faults(**given)
    assert expected in fault


def test_all_faults_are_reported_at_once():
    reported = faults(cpu="x", imagee="y", image="z", min_replicas=5, notification_email="")
    assert [fault.split(":")[0] for fault in reported] == [
        "imagee",
        "notification_email",
        "image",
        "cpu",
        "max_replicas",
    ]


def test_a_setting_spelled_wrong_is_a_fault_and_the_context_of_others_is_not():
    assert faults(min_replica=2) == ["min_replica: there is no such setting; did you mean min_replicas?"]
    assert read(context(**{"@aws-cdk/core:flag": True, "availability-zones": [], "somebody": "else"}))


def test_a_setting_taken_out_is_a_fault():
    values = context()
    del values["tags"]
    with pytest.raises(Faults) as raised:
        read(values)
    assert raised.value.faults == ["tags: is missing; take the line of the cdk.json that came with smoother"]


def test_the_settings_file_is_read_and_judged(tmp_path):
    path = tmp_path / "worker.toml"
    path.write_text('call_timeout = "10m"\n')
    assert read(context(settings_file=str(path))).settings_text == 'call_timeout = "10m"\n'
    path.write_text("call_timeout = \n")
    assert "is not TOML" in faults(settings_file=str(path))[0]
    path.write_text("# " + "x" * 33_000)
    assert "has 33002 bytes" in faults(settings_file=str(path))[0]
    assert read(context()).settings_text == ""


def test_long_values_are_cut_in_faults():
    assert len(faults(name="S" * 500)[0]) < 200


def test_what_is_often_not_meant_is_warned_of():
    assert warnings(read(context())) == {}
    assert warnings(read(context(**GATEWAY, **CERTIFICATE, **DISCOVERY))) == {}
    open_gateway = {"gateway_enabled": True, "gateway_cidrs": "0.0.0.0/0", "allowed_models": "*"}
    assert list(warnings(read(context(**open_gateway)))) == [
        "gateway-without-certificate",
        "gateway-open-to-everybody",
        "models-not-limited",
    ]
    unused = context(**CERTIFICATE, **DISCOVERY) | {"discovery_schedule": ""}
    assert list(warnings(read(unused))) == ["gateway-settings-unused", "discovery-settings-unused"]


def test_the_app_ends_with_the_faults_and_no_traceback(tmp_path):
    ran = subprocess.run([sys.executable, HERE / "app.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1
    assert "aws_region: is missing" in ran.stderr
    assert "Traceback" not in ran.stderr
