"""What the emulator cannot be given, and why. The list is exact: a test compares it with what was deployed."""

from botocore.exceptions import ClientError

LACKS = {
    "terraform": {
        "aws_appautoscaling_target": "the emulator has no Application Auto Scaling; deployed with autoscaling = false",
        "aws_appautoscaling_policy": "the emulator has no Application Auto Scaling; deployed with autoscaling = false",
    },
    "cdk": {
        "AWS::ApplicationAutoScaling::ScalableTarget": "the emulator has no Application Auto Scaling",
        "AWS::ApplicationAutoScaling::ScalingPolicy": "the emulator has no Application Auto Scaling",
        "AWS::EC2::SecurityGroupIngress": "its CloudFormation knows rules inside of a security group only",
        "AWS::CloudWatch::Alarm of metric math": "its CloudFormation makes alarms of one metric only",
    },
}
# What the emulator takes and does not keep, so that it cannot be seen through its APIs; a test sees that each is so.
# Compared in the templates all the same, by test_parity.
FORGETS = {
    ("cdk", "bucket encryption"): "its CloudFormation makes every bucket with AES256",
    ("cdk", "bucket lifecycle"): "its CloudFormation gives buckets no lifecycle",
    ("cdk", "tags of a bucket"): "its CloudFormation tags no buckets",
    ("cdk", "topic encryption"): "its CloudFormation gives topics no key",
    ("cdk", "point in time recovery"): "its CloudFormation does not turn it on",
    ("cdk", "time to live"): "its CloudFormation does not turn it on",
    ("cdk", "runtime platform"): "its CloudFormation leaves it out of task definitions",
    ("cdk", "capabilities"): "its CloudFormation leaves them out of task definitions",
    ("cdk", "secrets"): "its CloudFormation keeps them in CloudFormation's words, which ECS does not read",
    ("cdk", "health check"): "its CloudFormation leaves it out of task definitions",
    ("terraform", "egress of security groups"): "it keeps a group's first rule, which the provider revokes with ports 0 to 0",
}


def shows(deployed, what, look, expected):
    """What is looked at is as expected, unless the emulator is known to forget it; then it must still be so."""
    if (deployed.kind, what) not in FORGETS:
        assert look() == expected, what
        return
    try:
        seen = look()
    except (ClientError, KeyError) as error:
        seen = error
    assert seen != expected, f"{what} is kept by now; take it off FORGETS"


def kind(resource):
    """A template's resource's type, told apart where the emulator can make some of a type only."""
    math = resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    return resource["Type"] + (" of metric math" if math else "")


# What a second `terraform plan` would change, since the emulator does not answer with it: type → (attributes, why).
DRIFT = {
    "aws_cloudwatch_metric_alarm": (
        (
            "actions_enabled alarm_actions alarm_description dimensions ok_actions period statistic treat_missing_data"
        ).split(),
        "its DescribeAlarms answers the provider without them",
    ),
    "aws_ecs_service": (["availability_zone_rebalancing"], "its DescribeServices answers without it"),
}
