"""The actions of the Step Functions API that concern executions and map runs."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cdk_distributed_map import arns
from cdk_distributed_map.local.api import requests
from cdk_distributed_map.local.api.single_states import tested
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.errors import ApiError, ExecutionStoppedError, StateError, UnsupportedError
from cdk_distributed_map.local.execution import descriptions, records
from cdk_distributed_map.local.execution.frame import Execution
from cdk_distributed_map.local.execution.history import rendered
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.machines import Machines
from cdk_distributed_map.local.execution.runner import start_execution, stop_execution
from cdk_distributed_map.local.execution.services import Services
from cdk_distributed_map.local.execution.store import Store
from cdk_distributed_map.local.iam import keys
from cdk_distributed_map.local.iam.foreign_arns import refuse_elsewhere
from cdk_distributed_map.local.program import Program, compile_definition
from cdk_distributed_map.local.tasks.integration import HEARTBEAT
from distmap import limits

_TOKEN: Final = re.compile(r"[0-9a-f]{64}")
_STATUSES: Final = frozenset({"RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"})
_NOT_EXPRESS: Final = "This operation is not supported by this type of state machine"
_REDRIVEN: Final = {"REDRIVEN": True, "NOT_REDRIVEN": False}

Answer = dict[str, Any]


class Api:
    """Answers calls; runs on the engine's loop.

    Args:
        services: What executions need.
        machines: Where state machines are looked up.
    """

    def __init__(self, services: Services, machines: Machines) -> None:
        self._services = services
        self._machines = machines
        self._store = Store(services)
        self._redrives: dict[tuple[str, str | None], float] = {}
        services.starter = self
        self._actions: dict[str, Callable[[Answer], Awaitable[Answer]]] = {
            "StartExecution": self._start_execution,
            "StartSyncExecution": self._start_sync_execution,
            "DescribeExecution": self._describe_execution,
            "ListExecutions": self._list_executions,
            "StopExecution": self._stop_execution,
            "GetExecutionHistory": self._get_execution_history,
            "ListMapRuns": self._list_map_runs,
            "DescribeMapRun": self._describe_map_run,
            "UpdateMapRun": self._update_map_run,
            "RedriveExecution": self._redrive_execution,
            "DescribeStateMachineForExecution": self._describe_machine_for,
            "SendTaskSuccess": self._send_task_success,
            "SendTaskFailure": self._send_task_failure,
            "SendTaskHeartbeat": self._send_task_heartbeat,
            "TestState": lambda parameters: tested(parameters, services),
        }

    def answers(self, action: str) -> bool:
        """Tell whether an action is answered here."""
        return action in self._actions

    async def call(self, action: str, parameters: Answer) -> Answer:
        """Answer a call.

        Raises:
            ApiError: AWS would answer with an error.
        """
        return await self._actions[action](parameters)

    async def wait(self, execution: str) -> bool:
        """Return once an execution has ended; at once, and False, where it isn't known by itself.

        Args:
            execution: Its ARN.
        """
        try:
            running = self._store.execution(execution)
        except ApiError:
            return False
        if running.task is None:
            return False
        await asyncio.wait({running.task})
        return True

    # -- executions

    async def start(self, machine: str, name: str | None, input: str, *, role: str) -> Execution:
        """Start an execution for a task of another."""
        del role
        return await self._started({"stateMachineArn": machine, "name": name, "input": input}, express=False)

    async def _start_execution(self, parameters: Answer) -> Answer:
        execution = await self._started(parameters, express=False)
        return {"executionArn": execution.arn, "startDate": execution.started}

    async def _start_sync_execution(self, parameters: Answer) -> Answer:
        data = requests.wants_data(parameters)
        execution = await self._started(parameters, express=True)
        assert execution.task is not None  # noqa: S101 - it has just been started
        await asyncio.wait({execution.task})
        return descriptions.synchronous(execution, data=data)

    async def _started(self, parameters: Answer, *, express: bool) -> Execution:
        arn = requests.required(parameters, "stateMachineArn")
        machine = await self._machines.machine(arn)
        if express and not machine.express:
            raise ApiError("StateMachineTypeNotSupported", _NOT_EXPRESS)
        if machine.key is not None:
            try:
                refused = await self._services.blocking(lambda: keys.of_executions(self._services, machine))
            except StateError as error:
                raise ApiError("ValidationException", str(error.cause)) from error
            if refused is not None:
                raise ApiError("KmsAccessDeniedException", refused)
        value = requests.execution_input(parameters.get("input"))
        name = requests.execution_name(parameters.get("name"))
        execution_arn = self._arn(machine, name)
        started = self._store.known(execution_arn)
        if started is not None:
            if started.status == "RUNNING" and dumps(started.input) == dumps(value):
                return started
            raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{execution_arn}'")
        program = _compiled(machine, self._services)
        execution = Execution(arn=execution_arn, name=name, machine=machine, input=value, services=self._services)
        self._store.add(execution)
        start_execution(execution, program)
        return execution

    def _arn(self, machine: Machine, name: str) -> str:
        arn = machine.parsed
        return arn.express_arn(f"{name}:{uuid.uuid4()}") if machine.express else arn.execution_arn(name)

    async def _describe_execution(self, parameters: Answer) -> Answer:
        execution = self._store.execution(requests.required(parameters, "executionArn"))
        return descriptions.execution(execution, data=requests.wants_data(parameters))

    async def _list_executions(self, parameters: Answer) -> Answer:
        status = parameters.get("statusFilter")
        requests.one_of(parameters, "statusFilter", _STATUSES)
        redriven = _REDRIVEN.get(requests.one_of(parameters, "redriveFilter", frozenset(_REDRIVEN)) or "")
        if ("mapRunArn" in parameters) == ("stateMachineArn" in parameters):
            raise ApiError("ValidationException", "Must provide exactly one of 'stateMachineArn' or 'mapRunArn'")
        if "mapRunArn" in parameters:
            return self._list_children(parameters, status, redriven=redriven)
        if status == "PENDING_REDRIVE":
            raise ApiError("ValidationException", "statusFilter PENDING_REDRIVE needs a mapRunArn")
        arn = parameters["stateMachineArn"]
        executions = self._store.of_machine(arn)
        machine = executions[0].machine if executions else await self._machines.machine(arn)
        if machine.express:
            raise ApiError("StateMachineTypeNotSupported", _NOT_EXPRESS)
        shown = [
            entry
            for entry in executions
            if status in {None, entry.status} and redriven in {None, entry.redrive_count > 0}
        ]
        page, token = requests.page(shown, parameters)
        return descriptions.without_none(
            {"executions": [descriptions.summary(entry) for entry in page], "nextToken": token}
        )

    def _list_children(self, parameters: Answer, status: str | None, *, redriven: bool | None) -> Answer:
        run = self._store.map_run(parameters["mapRunArn"])
        if status == "PENDING_REDRIVE":
            numbers = [at for at in range(len(run.records)) if run.is_pending_redrive(at)]
        elif status is not None:
            of_status = run.records.of(records.STATUSES.index(status))
            numbers = [at for at in of_status if not run.is_pending_redrive(at)]
        else:
            numbers = [at for at, status in enumerate(run.records.status) if status != records.PENDING]
        if redriven is not None:
            numbers = [at for at in numbers if (at in run.records.redrives) == redriven]
        page, token = requests.page(numbers[::-1], parameters)
        entries = [descriptions.child_entry(run, at) for at in page]
        return descriptions.without_none({"executions": entries, "nextToken": token})

    async def _stop_execution(self, parameters: Answer) -> Answer:
        execution = self._store.execution(requests.required(parameters, "executionArn"))
        if execution.machine.express:
            raise ApiError("InvalidArn", "Invalid Arn: 'Resource type not valid in this context: express'")
        if execution.status == "RUNNING":
            stop_execution(
                execution, ExecutionStoppedError("ABORTED", parameters.get("error"), parameters.get("cause"))
            )
            if execution.task is not None:
                await asyncio.wait({execution.task})
        return {"stopDate": execution.stopped or execution.started}

    async def _get_execution_history(self, parameters: Answer) -> Answer:
        execution = self._store.execution(requests.required(parameters, "executionArn"))
        if execution.machine.express:
            raise ApiError("InvalidArn", "Invalid Arn: 'Resource type not valid in this context: express'")
        events = execution.history.events
        page, token = requests.page(events[::-1] if parameters.get("reverseOrder") else events, parameters)
        data = parameters.get("includeExecutionData", True)
        shown = [rendered(event, include_data=data) for event in page]
        return descriptions.without_none({"events": shown, "nextToken": token})

    async def _describe_machine_for(self, parameters: Answer) -> Answer:
        execution = self._store.execution(requests.required(parameters, "executionArn"))
        machine = execution.machine
        return descriptions.without_none(
            {
                "stateMachineArn": machine.arn,
                "name": machine.name,
                "definition": machine.definition if requests.wants_data(parameters) else "{}",
                "roleArn": machine.role,
                "updateDate": machine.updated or execution.started,
                "revisionId": machine.revision or None,
                "mapRunArn": execution.map_run,
                "label": machine.label or None,
                "loggingConfiguration": machine.logging or {"level": "OFF", "includeExecutionData": False},
                "tracingConfiguration": machine.tracing or {"enabled": False},
            }
        )

    async def _redrive_execution(self, parameters: Answer) -> Answer:
        arn = requests.required(parameters, "executionArn")
        parsed = arns.split_states(arn)
        if parsed is not None and parsed.kind == "express":
            raise ApiError("InvalidArn", f"Invalid Arn: 'Resource type not valid in this context: express: {arn}'")
        execution = self._store.execution(arn)
        if execution.map_run is not None:
            raise ApiError("ValidationException", "Labeled Execution ARNs are not supported")
        call = (arn, parameters.get("clientToken"))
        if call in self._redrives:
            return {"redriveDate": self._redrives[call]}
        self._check_redrivable(execution)
        execution.redrive_count += 1
        execution.redriven = self._services.clock.now()
        if call[1] is not None:
            self._redrives[call] = execution.redriven
        execution.status = "RUNNING"
        execution.stopped = execution.error = execution.cause = None
        execution.resumed_runs = self._services.map_runs.to_resume(execution)
        start_execution(execution, _compiled(execution.machine, self._services))
        return {"redriveDate": execution.redriven}

    def _check_redrivable(self, execution: Execution) -> None:
        age = self._services.clock.now() - (execution.stopped or execution.started)
        reason = None
        if execution.status not in {"FAILED", "TIMED_OUT", "ABORTED"}:
            reason = f"Execution is {execution.status} and cannot be redriven"
        elif execution.history.last_id >= limits.MAX_HISTORY_EVENTS - 1:
            reason = "Execution history event limit exceeded"
        elif age > limits.REDRIVE_DAYS * 86_400:
            reason = "Execution has exceeded the redrivable period"
        elif execution.redrive_count >= limits.MAX_REDRIVES:
            reason = "Execution redrive limit exceeded"
        if reason is not None:
            raise ApiError("ExecutionNotRedrivable", reason)

    # -- map runs

    async def _list_map_runs(self, parameters: Answer) -> Answer:
        execution = self._store.execution(requests.required(parameters, "executionArn"))
        page, token = requests.page(self._services.map_runs.of(execution.arn), parameters)
        return descriptions.without_none(
            {"mapRuns": [descriptions.map_run_entry(run) for run in page], "nextToken": token}
        )

    async def _describe_map_run(self, parameters: Answer) -> Answer:
        return descriptions.map_run(self._store.map_run(requests.required(parameters, "mapRunArn")))

    async def _update_map_run(self, parameters: Answer) -> Answer:
        run = self._store.map_run(requests.required(parameters, "mapRunArn"))
        concurrency = parameters.get("maxConcurrency")
        count, percentage = parameters.get("toleratedFailureCount"), parameters.get("toleratedFailurePercentage")
        if concurrency is not None and concurrency < 0:
            raise ApiError("ValidationException", "maxConcurrency must be 0 or more")
        if count is not None and count < 0:
            raise ApiError("ValidationException", "toleratedFailureCount must be 0 or more")
        if percentage is not None and not 0 <= percentage <= 100:
            raise ApiError("ValidationException", "toleratedFailurePercentage must be between 0 and 100")
        if run.status != "RUNNING":
            raise ApiError("ValidationException", f"The Map Run is {run.status} and cannot be updated")
        if concurrency is not None:
            run.concurrency = concurrency
        if count is not None:
            run.tolerance.count = count
        if percentage is not None:
            run.tolerance.percentage = float(percentage)
        run.changed()
        return {}

    # -- task tokens

    def _token(self, parameters: Answer) -> asyncio.Future[Json]:
        token = requests.required(parameters, "taskToken")
        if not _TOKEN.fullmatch(token):
            raise ApiError("InvalidToken", "Invalid Token: 'Invalid token'")
        future = self._services.tokens.get(token)
        if future is None or future.done():
            raise ApiError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        return future

    async def _send_task_success(self, parameters: Answer) -> Answer:
        future = self._token(parameters)
        future.set_result(requests.task_output(requests.required(parameters, "output")))
        return {}

    async def _send_task_failure(self, parameters: Answer) -> Answer:
        self._token(parameters).set_exception(StateError(parameters.get("error"), parameters.get("cause")))
        return {}

    async def _send_task_heartbeat(self, parameters: Answer) -> Answer:
        self._token(parameters).set_result(HEARTBEAT)
        return {}


def _compiled(machine: Machine, services: Services) -> Program:
    try:
        program = compile_definition(machine.definition, express=machine.express)
        refuse_elsewhere(json.loads(machine.definition), services)
    except UnsupportedError as error:
        raise ApiError("ValidationException", f"the local engine can't run {machine.name}: {error}") from error
    return program
