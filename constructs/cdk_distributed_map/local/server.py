"""AWS on this machine: the embedded AWS, the engine for state machines and functions, and one endpoint for all."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cdk_distributed_map import endpoints
from cdk_distributed_map.local.deployed import DeployedAws
from cdk_distributed_map.local.embedded import sdk
from cdk_distributed_map.local.embedded.address import ACCOUNT, REGION, check_address
from cdk_distributed_map.local.embedded.deploy import Progress
from cdk_distributed_map.local.embedded.environment import environment_of, local_environment
from cdk_distributed_map.local.embedded.errors import KILLED
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.embedded.process import EmbeddedAws, free_port
from cdk_distributed_map.local.embedded.s3_faults import let_s3_fail
from cdk_distributed_map.local.endpoints.lambda_endpoint import LocalEndpoint
from cdk_distributed_map.local.engine import Engine
from cdk_distributed_map.local.events.connect import connect
from cdk_distributed_map.local.execution.clock import Clock
from cdk_distributed_map.local.execution.services import Authorizer
from cdk_distributed_map.local.faults import Faults
from cdk_distributed_map.local.functions import (
    Containers,
    DeployedFunctions,
    FunctionConfig,
    Functions,
    FunctionSettings,
    InvokeResult,
)
from cdk_distributed_map.local.functions.deployment import deploy
from cdk_distributed_map.local.functions.logs import LogWriter
from cdk_distributed_map.local.guardian import Guardian
from cdk_distributed_map.local.outcomes import Outcomes

if TYPE_CHECKING:
    from cdk_distributed_map.local.iam.roles import RolePolicies

T = TypeVar("T")
LOST: Final = "not all of the state could be written to {}: objects are there, all else may be as it was before"
_LOGGER: Final = logging.getLogger("cdk_distributed_map.local")
_WATCH_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.05


class LocalAws(DeployedAws):
    """AWS on this machine, for as long as the object is open; nothing of it can reach the real one.

    Creates: a process of the embedded AWS, one that ends everything with this one however it ends, and processes of
    functions as they are invoked. Everything listens on loopback only.

    Args:
        port: Port of the endpoint. Default: one that is free.
        region: Region it is in.
        account: Account it is.
        iam: Whether IAM is enforced: for state machines and functions under their roles, and for every client.
        authorizer: Decides what state machines may do under their roles. Default: their deployed policies do, or
            without ``iam`` nothing does.
        state: Folder in which the embedded AWS keeps its state, and finds it again: objects at once, all else when it
            ends. Default: in memory. Executions are in memory in any case.
        functions: Bounds of the processes of functions.
        faults: What is to go wrong; may be changed at any time. Default: nothing.
        virtual_clock: Whether waits of state machines pass at once when nothing real is running.
        dispatch_rates: Whether a map starts its children no faster than AWS does.
        logs: Whether the logs of functions are written to CloudWatch Logs of the embedded AWS.
        warn: Called with each warning. Default: they are logged.

    Raises:
        ValueError: There is no such port, Region or account.

    Example::

        with LocalAws() as aws:
            aws.deploy("cdk.out")
            run = aws.run("Ranges", {"number": 100, "chunk": 5}).check()
    """

    def __init__(
        self,
        *,
        port: int = 0,
        region: str = REGION,
        account: str = ACCOUNT,
        iam: bool = True,
        authorizer: Authorizer | None = None,
        state: str | Path | None = None,
        functions: FunctionSettings | None = None,
        faults: Faults | None = None,
        virtual_clock: bool = True,
        dispatch_rates: bool = False,
        logs: bool = True,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        check_address(port=port, region=region, account=account)
        self.region = region
        self.account = account
        self.faults, self.outcomes = Faults() if faults is None else faults, Outcomes()
        """What tasks answer in place of what they call; may be changed at any time."""
        self.token = secrets.token_hex(16)
        self._port = port
        self._iam = iam
        self._authorizer = authorizer
        self._state = Path(state).resolve() if state is not None else None
        self._settings = functions if functions is not None else FunctionSettings()
        self._virtual_clock = virtual_clock
        self._dispatch_rates = dispatch_rates
        self._wants_logs = logs
        self._warn = warn if warn is not None else _LOGGER.warning
        self._stack = contextlib.ExitStack()
        self._endpoint: LocalEndpoint | None = None
        self._runner: Engine | None = None
        self._aws: EmbeddedAws | None = None
        self._guardian: Guardian | None = None
        self._clients: Callable[[str], Any] | None = None
        self.killed = False
        """Whether the one that had its state before was killed, so that not all of it is there."""
        self.invocations: list[tuple[str, InvokeResult]] | None = None
        """Set to a list, it collects every invocation that ran, with the name of its function."""

    def __enter__(self) -> LocalAws:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End."""
        self.close()

    def __repr__(self) -> str:
        where = "not running" if self._endpoint is None else self._endpoint.url
        return f"<LocalAws {where} {self.region} {self.account}>"

    @property
    def endpoint_url(self) -> str:
        """URL of the endpoint, for all services.

        Raises:
            RuntimeError: It isn't started.
        """
        return self._started(self._endpoint).url

    @property
    def keys(self) -> Keys:
        """Credentials of the account's root: ``access_key`` and ``secret_key``, new ones at each start.

        Raises:
            RuntimeError: It isn't started.
        """
        return self._started(self._aws).keys

    @property
    def pids(self) -> dict[str, int]:
        """Processes that were started, but for those of functions."""
        return {"aws": self._started(self._aws).pid, "guardian": self._started(self._guardian).pid}

    def start(self) -> LocalAws:
        """Start everything, and return once it answers.

        Raises:
            EmbeddedAwsError: The embedded AWS isn't installed, or didn't start.
            OSError: The port is taken.
        """
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End everything that was started; the embedded AWS keeps its state first where it is asked to."""
        self._stack.close()
        self._endpoint = self._runner = self._aws = self._guardian = self._clients = None

    def watch(self) -> None:
        """Wait for ever, which ends with an exception of the caller's, or with a process that this one needs.

        Raises:
            EmbeddedAwsError: The embedded AWS has ended by itself.
            GuardianError: The guardian has.
        """
        while True:
            self._started(self._aws).check()
            self._started(self._guardian).check()
            time.sleep(_WATCH_SECONDS)

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment variables that make AWS tools work on it, its keys among them.

        Args:
            base: The environment to set them in, such as ``os.environ``: it is returned whole with them, without the
                variables that would lead an AWS tool elsewhere. Default: they are returned alone.
        """
        variables = local_environment(self.endpoint_url, self.region, self.keys, base)
        return variables if base is None else environment_of(variables, base)

    def client(self, service: str) -> Any:
        """Return a boto3 client of a service."""
        return self._started(self._clients)(service)

    def deploy(self, assembly: str | Path, *stacks: str, progress: Progress | None = None) -> dict[str, dict[str, str]]:
        """Deploy the stacks of a cloud assembly.

        Args:
            assembly: Folder that ``cdk synth`` wrote.
            stacks: Names, paths or patterns of stacks. Default: all.
            progress: Called with each line of progress.

        Returns:
            The outputs of each stack, by its name.

        Raises:
            AssemblyError: The folder is no assembly, or has no such stack.
            DeployError: A stack was refused; it says which resource, and why.
        """
        return deploy(Path(assembly), stacks, self.client, account=self.account, region=self.region, progress=progress)

    def _pause(self, execution: str, seconds: float) -> None:
        # Children of a Map Run can't be waited for, nor what is redriven just then: they are asked for again.
        if not self._started(self._runner).wait(execution, seconds=seconds):
            time.sleep(_PAUSE_SECONDS)

    def _start(self) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="distmap-"))
        self._stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        guardian = self._guardian = Guardian(scratch=scratch)
        self._stack.callback(guardian.close)
        port = self._port if self._port else free_port()
        url = f"http://127.0.0.1:{port}"
        aws = self._embedded(guardian, scratch, url)
        # What the engine itself asks for needs no way through its own endpoint.
        direct = aws.clients()
        roles = self._roles(direct) if self._iam else None
        catalog = self._catalog(aws, direct, roles)
        clock = Clock(virtual=self._virtual_clock)
        logs = LogWriter(direct, warn=self._warn, now=clock.now) if self._wants_logs else None
        if logs is not None:
            self._stack.callback(logs.close)
        functions = Functions(
            catalog,
            endpoint=url,
            guardian=guardian,
            scratch=scratch,
            settings=self._settings,
            faults=self.faults,
            finished=partial(self._finished, logs),
            warn=self._warn,
            clock=clock,
        )
        engine = self._engine(aws, functions, roles, clock, scratch)
        self._stack.callback(functions.shutdown)
        engine.services.containers = Containers(direct, url, self.region, guardian, self._settings)
        endpoint = LocalEndpoint(
            engine,
            deliveries=connect(engine.services, functions, roles, put_events=aws.put_events, warn=self._warn),
            logs=logs,
            functions=functions,
            catalog=catalog,
            roles=roles,
            upstream_url=aws.url,
            port=port,
            secret=aws.secret,
            token=self.token,
        )
        self._open(endpoint, aws.keys)

    def _catalog(self, aws: EmbeddedAws, direct: Callable[[str], Any], roles: RolePolicies | None) -> DeployedFunctions:
        trusted = None if roles is None else lambda role, arn: roles.trusts(role, "lambda.amazonaws.com", arn)
        return DeployedFunctions(direct, cache=self._settings.cache, keys=aws.keys, secret=aws.secret, trusted=trusted)

    def _embedded(self, guardian: Guardian, scratch: Path, url: str) -> EmbeddedAws:
        aws = self._aws = EmbeddedAws(
            guardian=guardian,
            scratch=scratch,
            region=self.region,
            account=self.account,
            iam=self._iam,
            state=self._state,
            endpoint=url,
        )
        self._stack.callback(self._stop, aws)
        aws.start()
        if aws.killed:
            self.killed = True
            self._warn(KILLED)
        return aws

    def _engine(
        self, aws: EmbeddedAws, functions: Functions, roles: RolePolicies | None, clock: Clock, scratch: Path
    ) -> Engine:
        engine = Engine(
            endpoint_url=aws.url,
            region=self.region,
            keys=aws.keys,
            sent=aws.sent,
            account=self.account,
            invoker=functions,
            authorizer=roles if self._authorizer is None else self._authorizer,
            dispatch_rates=self._dispatch_rates,
            workdir=str(scratch),
            faults=self.faults,
            outcomes=self.outcomes,
            clock=clock,
        )
        self._stack.callback(engine.close)
        let_s3_fail(engine.services.clients.client("s3"), self.faults)
        engine.start()
        self._runner = engine
        return engine

    def _open(self, endpoint: LocalEndpoint, keys: Keys) -> None:
        """Start the endpoint, and tell clients of this process of it."""
        endpoint.start()
        self._stack.callback(endpoint.close)
        self._endpoint = endpoint
        self._clients = sdk.clients(endpoint.url, region=self.region, keys=keys)
        endpoints.opened(endpoint.url, endpoints.LocalEndpoint(self.region, *keys))
        self._stack.callback(endpoints.closed, endpoint.url)

    def _stop(self, aws: EmbeddedAws) -> None:
        aws.stop()
        if aws.lost:
            self._warn(LOST.format(self._state))

    def _roles(self, direct: Callable[[str], Any]) -> RolePolicies:
        # Not before the embedded AWS has been found: without it, that says what to install.
        from cdk_distributed_map.local.iam.roles import RolePolicies  # noqa: PLC0415

        return RolePolicies(direct, region=self.region, account=self.account)

    def _finished(self, writer: LogWriter | None, config: FunctionConfig, result: InvokeResult) -> None:
        if writer is not None:
            writer.write(config, result)
        if self.invocations is not None:
            self.invocations.append((config.name, result))

    def _started(self, part: T | None) -> T:
        if part is None:
            message = "the local AWS isn't started: use it as a context manager, or call start()"
            raise RuntimeError(message)
        return part
