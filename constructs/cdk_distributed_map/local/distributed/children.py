"""The children of a map run as executions: what they are called, how they are made, and who may start them."""

from __future__ import annotations

import uuid
from typing import Final

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.json_text import loads
from cdk_distributed_map.local.errors import StateError
from cdk_distributed_map.local.execution import records
from cdk_distributed_map.local.execution.frame import Execution
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.records import Records, Result
from cdk_distributed_map.local.execution.services import Services
from distmap import limits

_ENDED: Final = {
    "SUCCEEDED": records.SUCCEEDED,
    "FAILED": records.FAILED,
    "TIMED_OUT": records.TIMED_OUT,
    "ABORTED": records.ABORTED,
}


class NotAuthorizedError(StateError):
    """The role may not start a child, or not redrive it: the map run ends, and a redrive goes on with it.

    Args:
        message: The message of AWS's AccessDenied.
    """

    def __init__(self, message: str) -> None:
        cause = f"Error contacting AWS Service. | Message from Service: {message}"
        super().__init__(errors.RUNTIME, cause, terminal=True)
        self.inside = True


class ChildExecutions:
    """Makes the executions of children.

    Args:
        run_id: Id of the map run.
        label: Label of the map.
        machine: State machine that the map is in.
        express: Whether children are Express.
        services: Where the clock and the Region are.

    Attributes:
        run_arn: ARN of the map run.
        machine: The children's state machine.
    """

    def __init__(self, *, run_id: str, label: str, machine: Machine, express: bool, services: Services) -> None:
        self._root, self._run_id, self._label, self._services = machine.parsed.machine, run_id, label, services
        self.run_arn = services.arn("states", f"mapRun:{self._root}/{label}:{run_id}")
        self.machine = Machine(
            arn=f"{machine.unlabelled}/{label}",
            name=machine.name,
            role=machine.role,
            express=express,
            definition=machine.definition,
            revision=machine.revision,
        )

    def arn(self, name: str) -> str:
        """Return the ARN of a child."""
        if self.machine.express:
            return self._services.arn("states", f"express:{self._root}/{self._label}:{self.listed_name(name)}")
        return self._services.arn("states", f"execution:{self._root}/{self._label}:{name}")

    def listed_name(self, name: str) -> str:
        """Return a child's name as lists have it: of an Express one with the id of its execution."""
        return f"{name}:{uuid.uuid5(uuid.UUID(self._run_id), name)}" if self.machine.express else name

    def make(self, records_kept: Records, at: int) -> Execution:
        """Return a child that is to run."""
        name = records_kept.name(at)
        execution = Execution(
            arn=self.arn(name),
            name=name,
            machine=self.machine,
            input=loads(records_kept.input(at).decode()),
            services=self._services,
            map_run=self.run_arn,
        )
        execution.started = records_kept.started[at] or execution.started
        if at in records_kept.redrives:
            execution.redrive_count, execution.redriven = records_kept.redrives[at]
        return execution

    def bring_back(self, records_kept: Records, at: int, *, waits: bool) -> Execution:
        """Return a child that isn't running from what is kept of it.

        Args:
            records_kept: Where it is kept.
            at: Its number.
            waits: Whether it waits to be run again.
        """
        execution = self.make(records_kept, at)
        execution.status = "PENDING_REDRIVE" if waits else records.STATUSES[records_kept.status[at]]
        execution.stopped = records_kept.stopped[at] or None
        result = records_kept.result(at)
        if result is not None:
            execution.output, execution.error, execution.cause = result.output, result.error, result.cause
            execution.history.events = result.events
            execution.history.last_id = len(result.events)
        return execution


def keep_ended(records_kept: Records, at: int, execution: Execution, *, now: float) -> None:
    """Keep how a child ended.

    Args:
        records_kept: Where.
        at: Its number.
        execution: The child.
        now: When it ended, where the execution doesn't say it.
    """
    succeeded = execution.status == "SUCCEEDED"
    result = Result(
        execution.output,
        execution.error,
        execution.cause,
        execution.history.events,
        None if succeeded else execution.progress.packed(),
    )
    stopped = now if execution.stopped is None else execution.stopped
    try:
        records_kept.finish(at, _ENDED.get(execution.status, records.ABORTED), stopped, result)
    except ValueError as error:
        # A result that can't be kept must not keep the map from ending.
        cause = f"The output can't be kept, which is nested too deeply: {error}"
        records_kept.finish(at, records.FAILED, stopped, Result(None, errors.RUNTIME, cause, [], None))


class Permits:
    """Asks whether a role may start children, and redrive them: once each in an attempt of a map run.

    Args:
        services: Where to ask.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._granted: set[bool] = set()

    def reset(self) -> None:
        """Ask again: another attempt begins."""
        self._granted.clear()

    def check(self, machine: Machine, *, child: str | None) -> None:
        """Check that the role may start a child, or redrive it.

        Args:
            machine: State machine that the map is in.
            child: ARN of the child that is to be redriven, None where one is to be started.

        Raises:
            NotAuthorizedError: It may not.
        """
        redriven = child is not None
        if redriven in self._granted:
            return
        action, resource = "states:StartExecution", machine.unlabelled
        if child is not None:
            action, resource = "states:RedriveExecution", child
        message = self._services.denied(machine, action, resource)
        if message is not None:
            raise NotAuthorizedError(message)
        self._granted.add(redriven)


class DispatchRate:
    """Starts children no faster than AWS does, where that is asked for.

    Args:
        services: Whether it is asked for, and the clock.
        express: Whether children are Express.
    """

    def __init__(self, services: Services, *, express: bool) -> None:
        self._services = services
        rate = limits.EXPRESS_DISPATCH_PER_SECOND if express else limits.STANDARD_DISPATCH_PER_SECOND
        self._seconds = 1 / rate
        self._due = 0.0

    async def turn(self) -> None:
        """Wait until the next child may be started."""
        if not self._services.dispatch_rates:
            return
        clock = self._services.clock
        now = clock.now()
        if self._due > now:
            await clock.sleep(self._due - now)
        self._due = max(now, self._due) + self._seconds
