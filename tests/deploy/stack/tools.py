"""The command lines the deployments are made with, and where they and their plugins are."""

import os
import shutil
import subprocess
from pathlib import Path

from rig.processes import PLAIN, PROXIES

REPOSITORY = Path(__file__).resolve().parents[3]
TERRAFORM = Path(os.environ.get("SMOOTHER_TERRAFORM", REPOSITORY / "terraform"))
CDK = Path(os.environ.get("SMOOTHER_CDK", REPOSITORY / "cdk"))
# Folders below which Terraform providers are mirrored, as `terraform providers mirror` lays them out.
MIRRORS = ("~/.terraform.d/plugins", "~/.terraform.d", "/usr/share/terraform", "/usr/local/share/terraform", "/opt")


def run(command, cwd, env, seconds=300, code=0):
    """Runs a command line to its end; answers with its standard output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**PLAIN, "HOME": str(cwd), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    said = f"{' '.join(map(str, command[:3]))} … ended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    assert done.returncode == code, said
    return done.stdout


def provider_mirror():
    """The folder that holds `registry.terraform.io`, or None when the registry has to be asked."""
    if named := os.environ.get("TF_PLUGIN_DIR"):
        assert Path(named, "registry.terraform.io").is_dir(), f"TF_PLUGIN_DIR={named} has no registry.terraform.io"
        return Path(named)
    for place in (Path(name).expanduser() for name in MIRRORS):
        for found in (place, *(sorted(place.iterdir()) if place.is_dir() else ())):
            if (found / "registry.terraform.io" / "hashicorp" / "aws").is_dir():
                return found
    return None


def terraform_init(directory):
    executable = shutil.which("terraform")
    assert executable, "terraform is missing; install Terraform 1.11 or newer"
    mirror = provider_mirror()
    more, env = ([f"-plugin-dir={mirror}"], {}) if mirror else ([], PROXIES)
    run([executable, "init", "-input=false", "-no-color", *more], directory, env)
    return executable


def cdk_python():
    """The Python of the venv that has aws-cdk-lib; apart from the tests' own, whose boto3 is newer than checkov can take."""
    python = Path(os.environ.get("SMOOTHER_DEPLOY_VENV", REPOSITORY / ".venv-deploy")) / "bin" / "python"
    assert python.is_file(), f"there is no {python}; run scripts/test deploy, which installs it"
    return python


def cdk_command():
    tools = Path(os.environ.get("SMOOTHER_CDK_CLI", CDK / "node_modules"))
    command = tools / ".bin" / "cdk"
    assert command.is_file(), f"there is no {command}; run scripts/test deploy, which installs it"
    return command
