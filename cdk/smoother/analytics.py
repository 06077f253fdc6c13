"""Athena over the exports: a table that knows its days without a crawler, a workgroup with limits, a policy for analysts.

Nothing of it costs anything while nobody asks.
"""

import json
from pathlib import Path

from aws_cdk import Aws, aws_athena as athena, aws_glue as glue, aws_iam as iam
from constructs import Construct

from .notes import acknowledge_wildcards
from .payloads import EXPORTS, RESULTS
from .policies import Grants

_COLUMNS = Path(__file__).parents[2] / "terraform" / "modules" / "analytics" / "columns.json"
"""From src/ports/reports.rs, written by its tests."""
_BYTES_SCANNED_CUTOFF = 107_374_182_400
"""Of a query; $0.50 at $5 a terabyte."""
_HIVE = "org.apache.hadoop.hive.ql.io.parquet"


class Analytics(Construct):
    def __init__(self, scope: Construct, id: str, grants: Grants) -> None:
        super().__init__(scope, id)
        settings, bucket = grants.settings, grants.bucket.bucket_name
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=Aws.ACCOUNT_ID,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=settings.name.replace("-", "_"), description=f"{settings.name}: exports of the reporting table"
            ),
        )
        self.name = f"{settings.name.replace('-', '_')}.requests"
        table = glue.CfnTable(
            self,
            "Requests",
            catalog_id=Aws.ACCOUNT_ID,
            database_name=database.ref,
            table_input=glue.CfnTable.TableInputProperty(
                name="requests",
                description="One row per finished request; day by day, hour by hour",
                table_type="EXTERNAL_TABLE",
                # Athena works the days out by itself, and looks into folders only that a query asks for.
                parameters={
                    "EXTERNAL": "TRUE",
                    "classification": "parquet",
                    "projection.enabled": "true",
                    "projection.day.type": "date",
                    "projection.day.format": "yyyy-MM-dd",
                    "projection.day.range": "2026-01-01,NOW",
                    "projection.day.interval": "1",
                    "projection.day.interval.unit": "DAYS",
                    "storage.location.template": f"s3://{bucket}/{EXPORTS}day=${{day}}/",
                },
                partition_keys=[
                    glue.CfnTable.ColumnProperty(
                        name="day", type="string", comment="The UTC day it finished, 2026-11-21."
                    )
                ],
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    location=f"s3://{bucket}/{EXPORTS}",
                    input_format=f"{_HIVE}.MapredParquetInputFormat",
                    output_format=f"{_HIVE}.MapredParquetOutputFormat",
                    serde_info=glue.CfnTable.SerdeInfoProperty(
                        serialization_library=f"{_HIVE}.serde.ParquetHiveSerDe",
                        parameters={"serialization.format": "1"},
                    ),
                    columns=[glue.CfnTable.ColumnProperty(**column) for column in json.loads(_COLUMNS.read_text())],
                ),
            ),
        )
        self.workgroup = athena.CfnWorkGroup(
            self,
            "Workgroup",
            name=settings.name,
            description=f"{settings.name}: queries of analysts, results kept 7 days",
            recursive_delete_option=True,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=_BYTES_SCANNED_CUTOFF,
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=f"s3://{bucket}/{RESULTS}",
                    encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                        encryption_option="SSE_KMS", kms_key=grants.key.key_arn
                    ),
                ),
            ),
        )
        at = f"arn:{settings.partition}:glue:{settings.aws_region}:{Aws.ACCOUNT_ID}"
        catalog = [f"{at}:catalog", f"{at}:database/{database.ref}", f"{at}:table/{database.ref}/{table.ref}"]
        statements = grants.analyst(catalog, settings.name)
        self.policy = iam.ManagedPolicy(
            self,
            "Analyst",
            managed_policy_name=f"{settings.name}-analyst",
            description=f"Reads the reports and exports of {settings.name}, and asks Athena about them",
            statements=statements,
        )
        acknowledge_wildcards(self.policy, statements)
