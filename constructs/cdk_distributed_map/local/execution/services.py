"""What executions need from outside the interpreter."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.errors import UnsupportedError, runtime
from cdk_distributed_map.local.execution.clock import Clock
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.registry import MapRuns
from cdk_distributed_map.local.faults import Faults
from cdk_distributed_map.local.outcomes import Outcomes

T = TypeVar("T")
ConditionValue = str | tuple[str, ...] | None
"""Value of a condition key: None for a key that the request is known not to have."""
ConditionKeys = Mapping[str, ConditionValue]
"""Condition keys of a request, https://docs.aws.amazon.com/service-authorization/latest/reference/."""

NOT_ASSUMED: Final = (
    "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the "
    "provided role."
)
"""What an authorizer says where the role itself can't be assumed, whatever it is asked for."""


class Invocation(NamedTuple):
    """A call of a Lambda function.

    .. versionadded:: 0.1.0

    Attributes:
        function: Name, partial ARN or ARN, with a qualifier or without.
        payload: JSON text of the event.
        qualifier: Version or alias, where it isn't part of ``function``.
        role: ARN of the role that calls.
        wait: Whether the answer is waited for: ``RequestResponse`` rather than ``Event``.
        tail: Whether the answer brings the end of the log: ``LogType`` is ``Tail``.
    """

    function: str
    payload: str
    qualifier: str | None = None
    role: str = ""
    wait: bool = True
    tail: bool = False


class Answer(NamedTuple):
    """What a function answered.

    .. versionadded:: 0.1.0

    Attributes:
        payload: JSON text: its result, or Lambda's error object (``errorType``, ``errorMessage`` ...).
        function_error: ``Handled`` or ``Unhandled`` where the function failed, else None.
        version: Version that ran, None where the answer wasn't waited for.
        request_id: Lambda's id of the request.
        status: HTTP status: 200, or 202 where the answer wasn't waited for.
        log: The last 4 KB of the log in base64, where they were asked for.
    """

    payload: str
    function_error: str | None = None
    version: str | None = "$LATEST"
    request_id: str = ""
    status: int = 200
    log: str | None = None


class InvokeError(Exception):
    """Lambda refused the call: throttled, no such function, no permission.

    .. versionadded:: 0.1.0

    Args:
        code: Name of the exception in Lambda's API, such as ``TooManyRequestsException``.
        message: Its message.
        status: HTTP status.
        request_id: Lambda's id of the request.
    """

    def __init__(self, code: str, message: str, *, status: int = 500, request_id: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id


class FunctionInvoker(Protocol):
    """Runs Lambda functions.

    .. versionadded:: 0.1.0
    """

    async def invoke(self, invocation: Invocation) -> Answer:
        """Call a function; runs on the engine's loop, so it must not block.

        Raises:
            InvokeError: Lambda would refuse the call.
        """


@dataclass(kw_only=True)
class ContainerJob:
    """One run of a container.

    .. versionadded:: 0.1.0

    Args:
        name: Family of the task definition, or name of the job definition.
        arn: ARN of that.
        role: ARN of the container's role, if it has one.
        passed: ARNs of the roles that it is started with.
        environment: Environment variables.
        output: The end of what it wrote, once it has ended.
    """

    name: str
    arn: str
    role: str | None
    passed: list[str]
    environment: Mapping[str, str]
    output: str = ""


class JobError(Exception):
    """A container can't be run here.

    .. versionadded:: 0.1.0
    """


class ContainerRunner(Protocol):
    """Runs containers.

    .. versionadded:: 0.1.0
    """

    async def run(self, job: ContainerJob) -> int:
        """Run a container to its end and return its exit code.

        Raises:
            JobError: It can't be run here.
        """


class Clients(abc.ABC):
    """AWS clients for the endpoint that the engine works against.

    .. versionadded:: 0.1.0
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @abc.abstractmethod
    def client(self, service: str, role: str = "") -> Any:
        """Return a boto3 client, with the credentials of a role where roles are enforced."""


class Authorizer(Protocol):
    """Decides what a role may do.

    .. versionadded:: 0.1.0
    """

    def check(self, role: str, action: str, resource: str, context: ConditionKeys) -> str | None:
        """Return None where the role may, else the message of AWS's AccessDenied.

        Raises:
            UnsupportedError: It can't tell.
        """


class AllowAll:
    """The authorizer that doesn't.

    .. versionadded:: 0.1.0
    """

    def __repr__(self) -> str:
        return "AllowAll()"

    def check(self, role: str, action: str, resource: str, context: ConditionKeys) -> str | None:
        """Allow."""
        del role, action, resource, context
        return None


class Starter(Protocol):
    """The Step Functions API, for what a task does with it."""

    async def start(self, machine: str, name: str | None, input: str, *, role: str) -> Any:
        """Start an execution of another state machine and return it."""

    def answers(self, action: str) -> bool:
        """Tell whether an action is answered here, rather than by the embedded AWS."""

    async def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a call.

        Raises:
            ApiError: AWS would answer with an error.
        """


@dataclass(kw_only=True)
class Services:
    """What executions need from outside the interpreter.

    Args:
        clock: The engine's clock.
        clients: AWS clients.
        invoker: Runs Lambda functions.
        authorizer: Decides what roles may do.
        region: Region in ARNs.
        account: Account in ARNs.
        partition: Partition in ARNs.
        dispatch_rates: Whether children start no faster than AWS starts them.
        result_file_bytes: Size at which a map's result file is followed by the next.
        workdir: Folder of temporary files, None for the system's.
        threads: Runs what blocks.
        map_runs: The map runs it knows.
        starter: Starts executions, and answers other calls of the Step Functions API, on behalf of tasks.
        tokens: Tasks that wait for their token.
        token_owners: ARNs of their state machines.
        faults: What is to go wrong.
        outcomes: What calls answer in place of being made.
        containers: Runs containers; None where nothing can.
        status_changed: Called with each execution that starts, goes on with a redrive, or ends; must not block.
    """

    clock: Clock
    clients: Clients
    invoker: FunctionInvoker
    authorizer: Authorizer = field(default_factory=AllowAll)
    region: str = "us-east-1"
    account: str = "000000000000"
    partition: str = "aws"
    dispatch_rates: bool = False
    result_file_bytes: int
    workdir: str | None = None
    threads: ThreadPoolExecutor
    map_runs: MapRuns
    starter: Starter | None = None
    tokens: dict[str, asyncio.Future[Json]] = field(default_factory=dict)
    token_owners: dict[str, str] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    outcomes: Outcomes = field(default_factory=Outcomes)
    containers: ContainerRunner | None = None
    status_changed: Callable[[Any], None] | None = None

    async def blocking(self, function: Callable[[], T]) -> T:
        """Run what blocks in a thread; time isn't skipped meanwhile."""
        with self.clock.real():
            return await asyncio.get_running_loop().run_in_executor(self.threads, function)

    async def blocking_to_its_end(self, function: Callable[[], T]) -> T:
        """Run what blocks in a thread, and wait for its end even where the caller is stopped: the thread isn't."""
        task = asyncio.ensure_future(self.blocking(function))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
            if not task.cancelled():
                task.exception()
            raise

    def denied(self, machine: Machine, action: str, resource: str, context: ConditionKeys | None = None) -> str | None:
        """Return None where a state machine's role may, else the message of AWS's AccessDenied.

        Args:
            machine: The state machine, or that of a map's children.
            action: IAM action.
            resource: ARN of what it is done to.
            context: Condition keys of the request.

        Raises:
            StateError: ``States.Runtime``: a policy says something about it that can't be evaluated here.
        """
        keys: dict[str, ConditionValue] = dict(context or {})
        # Recorded: under a trust that names aws:SourceArn, the Express children of a map can't assume the role,
        # whichever ARN it names; Standard ones and state machines can.
        if not (machine.express and machine.label):
            keys["aws:SourceArn"] = machine.unlabelled
        try:
            return self.authorizer.check(machine.role, action, resource, keys)
        except UnsupportedError as error:
            raise runtime(str(error)) from error

    def arn(self, service: str, resource: str) -> str:
        """Return an ARN in this region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def s3_arn(self, resource: str) -> str:
        """Return the ARN of a bucket, or of an object as ``<bucket>/<key>``."""
        return f"arn:{self.partition}:s3:::{resource}"
