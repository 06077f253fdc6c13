"""The CDK deployment: synthesised with the real CLI, deployed as the CloudFormation stack it is."""

import json
import re
import shutil
from pathlib import Path

from botocore.exceptions import ClientError

from rig.places import client
from rig.waiting import wait_for

from .lacks import kind
from .tools import CDK, TERRAFORM, cdk_command, cdk_python, run

PRIVATE = shutil.ignore_patterns("node_modules", "cdk.out*", "cdk.context.json", "__pycache__", ".venv", ".pytest_cache")

SHARED = [Path("terraform/modules/monitoring/dashboard.json"), Path("terraform/modules/analytics/columns.json")]

STAGING = "staging-of-templates"


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def context_text(value):
    """As a person writes it after -c."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(value)


class Cdk:
    kind = "cdk"

    def __init__(self, directory, emulator, settings_text=""):
        self.directory = directory / "checkout" / "cdk"
        shutil.copytree(CDK, self.directory, ignore=PRIVATE)
        # The files of Terraform's that it reads.
        for file in SHARED:
            (self.directory.parent / file).parent.mkdir(parents=True)
            shutil.copy(TERRAFORM / file.relative_to("terraform"), self.directory.parent / file)
        self.settings_path = directory / "settings.toml"
        self.settings_path.write_text(settings_text)
        self.settings_file = str(self.settings_path) if settings_text else ""
        self.emulator = emulator
        self.cloudformation, self.s3 = client("cloudformation", emulator), client("s3", emulator)

    def synth(self, variables, out="cdk.out"):
        """The stack's template."""
        values = {**variables, "settings_file": self.settings_file}
        context = [part for name, value in values.items() for part in ("-c", f"{name}={context_text(value)}")]
        command = [cdk_command(), "synth", "--quiet", "--output", out, "--app", f"{cdk_python()} app.py"]
        # Neither credentials nor a network: nothing may be looked up.
        run([*command, *context], self.directory, {"CDK_DISABLE_VERSION_CHECK": "1", "AWS_EC2_METADATA_DISABLED": "true"})
        [template] = (self.directory / out).glob("*.template.json")
        self.stack = template.name.removesuffix(".template.json")
        return json.loads(template.read_text())

    def deploy(self, variables, without=()):
        """Creates the stack, or updates it; `without` the types of resources that the emulator does not have."""
        self.template = self.synth(variables)
        url = self.upload(trimmed(self.template, without))
        call = self.cloudformation.update_stack if self.there() else self.cloudformation.create_stack
        call(StackName=self.stack, TemplateURL=url, Capabilities=["CAPABILITY_NAMED_IAM"])
        stack = self.settled()
        assert stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), self.told()
        return {snake(output["OutputKey"]): output["OutputValue"] for output in stack["Outputs"]}

    def upload(self, template):
        """A template may come by S3 only, as this size does; `cdk deploy` has a bucket for that."""
        self.s3.create_bucket(Bucket=STAGING)
        self.s3.put_object(Bucket=STAGING, Key="template.json", Body=json.dumps(template).encode())
        return f"{self.emulator}/{STAGING}/template.json"

    def changes(self, variables, without=()):
        """What deploying these variables again would change."""
        url = self.upload(trimmed(self.synth(variables, "cdk.out.again"), without))
        named = {"StackName": self.stack, "ChangeSetName": "again"}
        self.cloudformation.create_change_set(**named, TemplateURL=url, Capabilities=["CAPABILITY_NAMED_IAM"])

        def done():
            shown = self.cloudformation.describe_change_set(**named)
            return shown if shown["Status"] in ("CREATE_COMPLETE", "FAILED") else None

        changes = wait_for("the change set", done, 60, 0.5).get("Changes", [])
        self.cloudformation.delete_change_set(**named)
        return changes

    def there(self):
        try:
            return self.cloudformation.describe_stacks(StackName=self.stack)["Stacks"][0]
        except ClientError as error:
            assert "does not exist" in str(error), error
            return None

    def settled(self):
        def done():
            stack = self.there()
            return stack is None or (not stack["StackStatus"].endswith("IN_PROGRESS") and stack)

        return wait_for(f"the stack {self.stack}", done, 300, 0.5)

    def told(self):
        events = self.cloudformation.describe_stack_events(StackName=self.stack)["StackEvents"]
        return [
            (event["LogicalResourceId"], event["ResourceStatus"], event.get("ResourceStatusReason"))
            for event in events
            if "FAILED" in event["ResourceStatus"] or "ROLLBACK" in event["ResourceStatus"]
        ]

    def physical(self):
        """Logical id → (type, physical id) of what the stack holds."""
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.stack)
        return {
            resource["LogicalResourceId"]: (resource["ResourceType"], resource["PhysicalResourceId"])
            for page in pages
            for resource in page["StackResourceSummaries"]
        }

    def destroy(self, variables):
        self.cloudformation.delete_stack(StackName=self.stack)
        ended = self.settled()
        assert ended is True or ended["StackStatus"] == "DELETE_COMPLETE", self.told()


def trimmed(template, without):
    """The template without resources of some types. Nothing may refer to them but other such resources."""
    gone = {name for name, resource in template["Resources"].items() if kind(resource) in without}
    kept = {name: resource for name, resource in template["Resources"].items() if name not in gone}
    for resource in kept.values():
        if "DependsOn" in resource:
            wanted = resource["DependsOn"]
            resource["DependsOn"] = [name for name in ([wanted] if isinstance(wanted, str) else wanted) if name not in gone]
    text = json.dumps(kept)
    assert not [name for name in gone if f'"Ref": "{name}"' in text or f'"Fn::GetAtt": ["{name}"' in text]
    return {**template, "Resources": kept}
