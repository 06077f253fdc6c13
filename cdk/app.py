"""Deploys smoother. All settings are context: cdk.json, overridden by `-c name=value`."""

import os
import sys

from aws_cdk import App

from smoother.settings import Faults, read
from smoother.stack import Smoother

app = App()
try:
    settings = read(app.node.get_all_context())
except Faults as faults:
    sys.exit(str(faults))
Smoother(app, settings, account=os.environ.get("CDK_DEFAULT_ACCOUNT"))
app.synth()
