"""The requests table with the index of the work lists, and the reporting table."""

from aws_cdk import RemovalPolicy, aws_dynamodb as dynamodb
from constructs import Construct

from .settings import Settings

INDEX = "work-index"
INDEX_INCLUDES = ["lane", "tenant", "use_case", "priority", "rank", "estimate_input", "estimate_output", "deadline"]
TTL = "expires_at"


class Tables(Construct):
    """The names and keys are the worker's (src/aws/schema.rs), which the deployments' tests compare."""

    def __init__(self, scope: Construct, id: str, settings: Settings, removal: RemovalPolicy) -> None:
        super().__init__(scope, id)
        self._settings = settings
        self._removal = removal
        self.requests = self._table("Requests", "requests", "request_id")
        self.requests.add_global_secondary_index(
            index_name=INDEX,
            partition_key=_key("work_list"),
            sort_key=_key("work_sort"),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=INDEX_INCLUDES,
        )
        self.reporting = self._table("Reporting", "reporting", "day", "finished_key")

    def _table(self, id: str, name: str, key: str, sort: str | None = None) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            id,
            table_name=f"{self._settings.name}-{name}",
            partition_key=_key(key),
            sort_key=_key(sort) if sort else None,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute=TTL,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=self._settings.deletion_protection,
            removal_policy=self._removal,
        )


def _key(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
