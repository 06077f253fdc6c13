"""The Terraform deployment: the real CLI and the real provider."""

import json
import shutil

from .tools import TERRAFORM, run, terraform_init

PRIVATE = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars", "*.tfvars.json")


class Terraform:
    kind = "terraform"

    def __init__(self, directory, emulator, settings_text=""):
        self.directory = directory / "terraform"
        shutil.copytree(TERRAFORM, self.directory, ignore=PRIVATE)
        self.settings_path = directory / "settings.toml"
        self.settings_path.write_text(settings_text)
        self.settings_file = str(self.settings_path) if settings_text else ""
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        # Nothing but this points it to the emulator: what is deployed is what users deploy.
        self.env = {"AWS_ENDPOINT_URL": emulator, "AWS_EC2_METADATA_DISABLED": "true", "TF_IN_AUTOMATION": "1", **keys}
        self.executable = terraform_init(self.directory)

    def terraform(self, *arguments, seconds=600, code=0):
        return run([self.executable, *arguments], self.directory, self.env, seconds, code)

    def give(self, variables):
        values = {**variables, "settings_file": self.settings_file}
        (self.directory / "proof.tfvars.json").write_text(json.dumps(values, indent=1))
        return ["-var-file=proof.tfvars.json", "-input=false", "-no-color", "-parallelism=40"]

    def deploy(self, variables):
        self.terraform("apply", "-auto-approve", *self.give(variables))
        return {name: output["value"] for name, output in json.loads(self.terraform("output", "-json")).items()}

    def state(self):
        """Everything that is there, as `terraform show -json` has it."""
        return json.loads(self.terraform("show", "-json"))

    def plan(self, variables, *more):
        """What applying these variables would do."""
        self.terraform("plan", f"-out={self.directory}/plan", *self.give(variables), *more)
        return json.loads(self.terraform("show", "-json", "plan"))

    def destroy(self, variables):
        """Once more when something was gone already: the emulator now and then closes a connection on which it has just done
        what it was asked for, and the SDK asks again. The provider takes that for an error with dashboards."""
        try:
            self.terraform("destroy", "-auto-approve", *self.give(variables))
        except AssertionError as failed:
            if "DashboardNotFoundError" not in str(failed):
                raise
            self.terraform("destroy", "-auto-approve", *self.give(variables))


def resources(module):
    """Every resource of a state's or a plan's root module, child modules and all."""
    yield from (resource for resource in module.get("resources", []) if resource["mode"] == "managed")
    for child in module.get("child_modules", []):
        yield from resources(child)
