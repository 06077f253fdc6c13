"""The alarms. Each says what it means and what to look at first; the dashboard has the same names."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from .queues import Queues
from .settings import Settings

_Query = cloudwatch.CfnAlarm.MetricDataQueryProperty


@dataclass(frozen=True)
class Alarm:
    """All of `periods` must breach. Missing data is no breach, unless said otherwise."""

    name: str
    comparison: str
    threshold: float
    description: str
    watched: dict[str, Any]
    """The properties that say what is watched: of one metric, or queries."""
    periods: int = 1
    missing: str = field(default="notBreaching", kw_only=True)

    def make(self, scope: Construct, prefix: str, topic_arn: str) -> None:
        cloudwatch.CfnAlarm(
            scope,
            "".join(word.title() for word in self.name.split("-")),
            alarm_name=f"{prefix}-{self.name}",
            alarm_description=self.description,
            comparison_operator=self.comparison,
            threshold=self.threshold,
            evaluation_periods=self.periods,
            datapoints_to_alarm=self.periods,
            treat_missing_data=self.missing,
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
            **self.watched,
        )


ABOVE = "GreaterThanThreshold"
AT_LEAST = "GreaterThanOrEqualToThreshold"
BELOW = "LessThanThreshold"


def bedrock_alarms(settings: Settings) -> Iterator[Alarm]:
    """Errors that Bedrock counts, over all models of the account.

    By Metrics Insights: the metrics have the dimension ModelId only, and which models will be called is not known here.
    """
    for name, metric, description in (
        (
            "bedrock-client-errors",
            "InvocationClientErrors",
            "Bedrock refused calls as wrong: access to a model, a model id, a malformed request. Look at the errors "
            "by model on the dashboard first, then at the worker's log for the reason.",
        ),
        (
            "bedrock-server-errors",
            "InvocationServerErrors",
            "Bedrock failed calls on its side; they are repeated. Look at the errors by model on the dashboard and "
            "at the AWS Health Dashboard first.",
        ),
        (
            "bedrock-throttles",
            "InvocationThrottles",
            "Bedrock throttled calls on this account; throttled requests are repeated and not lost. Look at the "
            "quota use by lane and at the use by others on the account first.",
        ),
    ):
        query = _Query(
            id="errors",
            label=metric,
            expression=f'SELECT SUM({metric}) FROM SCHEMA("AWS/Bedrock", ModelId)',
            period=60,
            return_data=True,
        )
        yield Alarm(
            name,
            AT_LEAST,
            settings.alarm_threshold,
            description,
            {"metrics": [query]},
            settings.alarm_evaluation_periods,
        )


def pipeline_alarms(settings: Settings, queues: Queues) -> list[Alarm]:
    name, minutes = settings.name, settings.minutes_to_process
    return [
        Alarm(
            "dead-letters",
            ABOVE,
            0,
            f"Requests took workers down again and again, ended as FAILED and are in {name}-hold-next-batch-dlq, for 14 "
            "days. Look with smoother dlq list first; smoother dlq redrive puts them back into line when the cause is "
            "gone, smoother dlq purge ends this alarm.",
            _queue("ApproximateNumberOfMessagesVisible", queues.hold_dlq.queue_name),
        ),
        Alarm(
            "input-dead-letters",
            ABOVE,
            0,
            f"Input messages could not be taken in five times and are in {name}-input-dlq. They are kept for 14 days. "
            "Look at the worker's log for faults of tables and bucket first; redrive them to the input queue when "
            "the cause is gone.",
            _queue("ApproximateNumberOfMessagesVisible", queues.input_dlq.queue_name),
        ),
        Alarm(
            "input-age",
            ABOVE,
            minutes * 60,
            f"Messages wait in {name}-input for more than {minutes} minutes without being taken in, which does not "
            "depend on Bedrock. Look at whether workers are alive first, then at faults of tables and bucket in "
            "their log.",
            _queue("ApproximateAgeOfOldestMessage", queues.input.queue_name),
            3,
        ),
        # A backlog is no fault: it is what the system is for. One that nothing is taken from is.
        Alarm(
            "backlog-not-draining",
            AT_LEAST,
            1,
            "Requests have waited for 15 minutes and not one has finished. Look at Bedrock's errors and throttles "
            "and at the budgets on the dashboard first, then at the worker's log for pauses.",
            {
                "metrics": [
                    _Query(
                        id="stuck",
                        label="Backlog and nothing finished",
                        expression="IF(FILL(backlog, 0) > 0 AND FILL(finished, 0) == 0, 1, 0)",
                        return_data=True,
                    ),
                    _own_query(settings, "backlog", "Backlog", "Minimum"),
                    _own_query(settings, "finished", "RequestsFinished", "Sum"),
                ]
            },
            3,
        ),
        Alarm(
            "no-worker",
            BELOW,
            1,
            "No worker has said for three minutes that it is alive; nothing is worked on, and nothing is lost. Look "
            f"at the events and stopped tasks of the ECS service {name}-worker first.",
            _own(settings, "WorkersAlive", "Sum", 60),
            3,
            missing="breaching",
        ),
        Alarm(
            "missed-deadlines",
            ABOVE,
            0,
            "Requests ended after their deadline, or expired before they were called. Look at quota use and backlog by "
            "priority on the dashboard first: with quota in full use there is more work than quota.",
            _own(settings, "MissedDeadlines", "Sum", 300),
        ),
        Alarm(
            "budget-reached",
            ABOVE,
            0,
            "A budget in dollars has no room left; what it covers waits, is rejected or is downgraded, as its policy "
            "says. Look with smoother status first, which budget it is; then raise it or let the work wait for the next "
            "day or month.",
            _own(settings, "BudgetsUsedUp", "Maximum", 60),
        ),
        Alarm(
            "delivery-faults",
            AT_LEAST,
            25,
            "Queues, tables, the bucket or the topic refused 25 calls or more in five minutes; they are repeated and "
            "nothing is lost. Look at the worker's log for which one and why first.",
            _own(settings, "PortErrors", "Sum", 300),
        ),
    ]


def _queue(metric: str, queue_name: str) -> dict[str, Any]:
    dimension = cloudwatch.CfnAlarm.DimensionProperty(name="QueueName", value=queue_name)
    return {
        "namespace": "AWS/SQS",
        "metric_name": metric,
        "statistic": "Maximum",
        "period": 60,
        "dimensions": [dimension],
    }


def _own(settings: Settings, metric: str, statistic: str, period: int) -> dict[str, Any]:
    return {"namespace": settings.metrics_namespace, "metric_name": metric, "statistic": statistic, "period": period}


def _own_query(settings: Settings, id: str, metric: str, statistic: str) -> _Query:
    return _Query(
        id=id,
        metric_stat=cloudwatch.CfnAlarm.MetricStatProperty(
            metric=cloudwatch.CfnAlarm.MetricProperty(namespace=settings.metrics_namespace, metric_name=metric),
            period=300,
            stat=statistic,
        ),
        return_data=False,
    )
