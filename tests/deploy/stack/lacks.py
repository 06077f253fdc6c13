"""What the emulator cannot be given, and why. The list is exact: a test compares it with what was deployed."""

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
}


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
