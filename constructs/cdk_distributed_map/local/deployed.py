"""What a test does with an AWS that stacks are deployed to, the local one or an account."""

from __future__ import annotations

import abc
import json
import time
from pathlib import Path
from typing import Any

from cdk_distributed_map.local.embedded.find import find_state_machine
from cdk_distributed_map.local.execution.executions import LocalExecution, described
from cdk_distributed_map.local.execution_path import ExecutionPath, execution_path


class DeployedAws(abc.ABC):
    """An AWS that stacks are deployed to, and whose state machines are run.

    .. versionadded:: 0.1.0
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @abc.abstractmethod
    def client(self, service: str) -> Any:
        """Return a boto3 client of a service."""

    @abc.abstractmethod
    def deploy(self, assembly: str | Path, *stacks: str) -> dict[str, dict[str, str]]:
        """Deploy the stacks of a cloud assembly.

        Args:
            assembly: Folder that ``cdk synth`` wrote.
            stacks: Names, paths or patterns of stacks. Default: all.

        Returns:
            The outputs of each stack, by its name.
        """

    @abc.abstractmethod
    def _pause(self, execution: str, seconds: float) -> None:
        """Wait for a change of an execution, no longer than some seconds."""

    def state_machine(self, name: str) -> str:
        """Return the ARN of a state machine, found by the same names as the client's ``Client.pipeline``.

        Args:
            name: Its ARN, its name, ``Stack/Construct`` or the construct of a pipeline, or the name of a stack that has
                one state machine or one pipeline.

        Raises:
            LookupError: There is none, or more than one.
        """
        return find_state_machine(self.client, name)

    def start_execution(self, state_machine: str, input: Any = None, *, name: str | None = None) -> LocalExecution:
        """Start an execution.

        Args:
            state_machine: Its ARN, its name, or the name of a stack that has one of its own.
            input: Its input. Default: an empty object.
            name: Its name. Default: one that is new.
        """
        execution_input = {} if input is None else input
        arguments = {"stateMachineArn": self.state_machine(state_machine), "input": json.dumps(execution_input)}
        if name is not None:
            arguments["name"] = name
        arn = self.client("stepfunctions").start_execution(**arguments)["executionArn"]
        return LocalExecution(arn=arn, status="RUNNING", input=execution_input)

    def wait(self, execution: LocalExecution | str, *, timeout: float = 600.0) -> LocalExecution:
        """Return an execution once it has ended.

        Args:
            execution: The execution, or its ARN.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: It was still running then.
        """
        arn = execution if isinstance(execution, str) else execution.arn
        client = self.client("stepfunctions")
        give_up = time.monotonic() + timeout
        while True:
            answer = client.describe_execution(executionArn=arn)
            if answer["status"] not in {"RUNNING", "PENDING_REDRIVE"}:
                return described(answer)
            left = give_up - time.monotonic()
            if left <= 0:
                message = f"the execution {arn} was still running after {timeout:g} seconds"
                raise TimeoutError(message)
            self._pause(arn, left)

    def run(
        self, state_machine: str, input: Any = None, *, name: str | None = None, timeout: float = 600.0
    ) -> LocalExecution:
        """Start an execution and return it once it has ended."""
        return self.wait(self.start_execution(state_machine, input, name=name), timeout=timeout)

    def path(self, execution: LocalExecution | str) -> ExecutionPath:
        """Return the path that an execution took: its states and their attempts, its map runs and their children.

        Args:
            execution: The execution, or its ARN.
        """
        arn = execution if isinstance(execution, str) else execution.arn
        return execution_path(self.client("stepfunctions"), arn)
