"""An account of AWS for the tests that run on the local one."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import boto3

from cdk_distributed_map.local.deployed import DeployedAws

_PAUSE_SECONDS: Final = 5.0
_SHOWN: Final = 2_000


class CloudAws(DeployedAws):
    """The account and the Region that the environment, or a profile, leads to.

    Nothing can be scripted there, and no fault be turned on.

    .. versionadded:: 0.1.0

    Args:
        profile: The profile. Default: what the environment says.
        pause_seconds: How long it waits before it asks again how an execution is.
    """

    def __init__(self, profile: str | None = None, *, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._profile = profile
        self._session = boto3.Session(profile_name=profile)
        self._pause_seconds = pause_seconds
        self._clients: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<CloudAws {self._profile or 'of the environment'}>"

    def client(self, service: str) -> Any:
        """Return a boto3 client of a service."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service)
        return self._clients[service]

    def deploy(self, assembly: str | Path, *stacks: str) -> dict[str, dict[str, str]]:
        """Deploy the stacks of a cloud assembly by the CDK CLI, which must be on the path.

        Args:
            assembly: Folder that ``cdk synth`` wrote.
            stacks: Names, paths or patterns of stacks. Default: all.

        Returns:
            The outputs of each stack that has any, by its name.

        Raises:
            RuntimeError: The CDK CLI isn't there, or failed; the message has the end of what it said.
        """
        cdk = shutil.which("cdk")
        if cdk is None:
            message = "the CDK CLI isn't on the path: install it with npm install -g aws-cdk"
            raise RuntimeError(message)
        with tempfile.TemporaryDirectory() as folder:
            outputs = Path(folder, "outputs.json")
            which = stacks or ("--all",)
            command = [cdk, "deploy", *which, "--app", str(assembly), "--require-approval", "never", "--ci"]
            command += ["--outputs-file", str(outputs), *(("--profile", self._profile) if self._profile else ())]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                message = f"cdk deploy failed: {(done.stdout + done.stderr)[-_SHOWN:].strip()}"
                raise RuntimeError(message)
            found: dict[str, dict[str, str]] = json.loads(outputs.read_text(encoding="utf-8"))
            return found

    def _pause(self, execution: str, seconds: float) -> None:
        del execution
        time.sleep(min(self._pause_seconds, seconds))
