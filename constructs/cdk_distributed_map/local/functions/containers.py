"""Containers of ECS tasks and AWS Batch jobs: a command of this machine stands for each, images don't run here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final

from cdk_distributed_map.local.execution.services import ContainerJob, JobError
from cdk_distributed_map.local.functions.launch import pinned
from cdk_distributed_map.local.functions.settings import COMMANDS_VARIABLE, FunctionSettings
from cdk_distributed_map.local.guardian import Guardian

_KEPT_CHARACTERS: Final = 2_000


class Containers:
    """Runs the commands.

    Args:
        clients: Gives boto3 clients of the embedded AWS.
        endpoint: Address of the local AWS.
        region: Its Region.
        guardian: Ends the processes where the engine can't.
        settings: Has the commands.
    """

    def __init__(
        self,
        clients: Callable[[str], Any],
        endpoint: str,
        region: str,
        guardian: Guardian,
        settings: FunctionSettings,
    ) -> None:
        self._clients = clients
        self._endpoint = endpoint
        self._region = region
        self._guardian = guardian
        self._commands = settings.commands

    async def run(self, job: ContainerJob) -> int:
        """Run a container to its end and return its exit code.

        Raises:
            JobError: There is no command for it, or it can't be started.
        """
        command = self._commands.get(job.name)
        if command is None:
            example = json.dumps({job.name: ["python3", "task.py"]})
            raise JobError(
                f"the local engine runs no container images, and has no command in place of {job.name!r}: give it one, "
                f"as FunctionSettings(commands={example}) or in the variable {COMMANDS_VARIABLE}"
            )
        credentials = await asyncio.to_thread(self._credentials, job.role)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            **job.environment,
            **credentials,
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            **pinned(self._endpoint),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise JobError(
                f"the command {list(command)!r} in place of {job.name!r} can't be started: {error}"
            ) from error
        self._guardian.watch(process.pid)
        try:
            written, _ = await process.communicate()
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            self._guardian.release(process.pid)
        job.output = written.decode("utf-8", "replace")[-_KEPT_CHARACTERS:]
        return int(process.returncode or 0)

    def _credentials(self, role: str | None) -> Mapping[str, str]:
        if role is None:
            return {}
        found = self._clients("sts").assume_role(RoleArn=role, RoleSessionName="container")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
            "AWS_SESSION_TOKEN": found["SessionToken"],
        }
