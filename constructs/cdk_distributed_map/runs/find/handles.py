"""What is known of a pipeline and of a run from AWS alone: what everything that reads a run's files takes.

They change nothing, and know neither files nor accounts: the public ``Pipeline`` and ``Run`` add what is done with
those.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.descriptions import MapRun, RunDescription, RunSummary, start_of
from cdk_distributed_map.runs.aws.sessions import Aws, errors
from cdk_distributed_map.runs.errors import NotFoundError, RunsError
from cdk_distributed_map.runs.find.definition import Nesting, PipelineDefinition, read_definition, read_nesting
from cdk_distributed_map.runs.find.names import did_you_mean

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeStateMachineOutputTypeDef

_START_SECONDS: Final = 30.0
"""How long a run that this client started may be unknown to AWS."""
_PAUSE_SECONDS: Final = 0.2
_MOST_GUESSED: Final = 100
"""Latest runs that a wrong name of one is held against."""
_MOST_EVENTS: Final = 1_000
"""Events from the end of a run on that are looked through for the state it failed in."""


def no_machine(arn: str) -> NotFoundError:
    """Return the error to raise where AWS doesn't know a state machine."""
    return NotFoundError(f"there is no state machine {arn}: look at the name, and at --profile and --region")


class PipelineHandle:
    """A deployed pipeline, as AWS describes it.

    Attributes:
        aws: Where it is.
        arn: ARN of its state machine.
        name: Name of its state machine.
        called: What it was found by; its state machine's name where that was an ARN.
    """

    def __init__(self, aws: Aws, arn: str, *, called: str | None = None) -> None:
        self.aws = aws
        self.arn = arn
        self.name = arns.parse(arn).machine
        self.called = self.name if called is None else called
        self._definition: PipelineDefinition | None = None
        self._machine: DescribeStateMachineOutputTypeDef | None = None
        self._nesting: Nesting | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.arn}>"

    @property
    def definition(self) -> PipelineDefinition:
        """What its deployed definition says.

        Raises:
            NotFoundError: There is no such state machine, or no pipeline in it.
            AwsError: AWS refused the call.
        """
        if self._definition is None:
            self._definition = read_definition(self._described()["definition"], machine=self.name)
        return self._definition

    @property
    def asl_definition(self) -> dict[str, Any]:
        """Its deployed definition in the Amazon States Language.

        Raises:
            NotFoundError: There is no such state machine.
            AwsError: AWS refused the call.
        """
        definition: dict[str, Any] = json.loads(self._described()["definition"])
        return definition

    @property
    def nesting(self) -> Nesting:
        """Which maps of its state machine have others inside them, whoever's they are.

        Raises:
            NotFoundError: There is no such state machine.
            AwsError: AWS refused the call.
        """
        if self._nesting is None:
            self._nesting = read_nesting(self._described()["definition"])
        return self._nesting

    def _described(self) -> DescribeStateMachineOutputTypeDef:
        if self._machine is None:
            with errors(f"describing the state machine {self.name!r}"):
                client = self.aws.sfn()
                try:
                    machine = client.describe_state_machine(stateMachineArn=self.arn)
                except client.exceptions.StateMachineDoesNotExist as error:
                    raise no_machine(self.arn) from error
            if machine["type"] == "EXPRESS":
                raise NotFoundError(
                    f"the state machine {self.name!r} is an Express one, which can hold no pipeline: name the "
                    "pipeline's own state machine, or its stack and construct as 'Stack/Construct'"
                )
            self._machine = machine
        return self._machine

    @property
    def log_group(self) -> str | None:
        """Name of the log group of its state machine, None where it has none."""
        destinations = self._described().get("loggingConfiguration", {}).get("destinations", [])
        groups = [destination["cloudWatchLogsLogGroup"]["logGroupArn"] for destination in destinations]
        return groups[0].split(":log-group:")[1].removesuffix(":*") if groups else None

    def runs(self, *, status: str | None = None, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield its runs, the latest first: those of the last 90 days, which is how long AWS keeps them.

        Args:
            status: ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT``, ``ABORTED`` or ``PENDING_REDRIVE``. Default:
                any.
            limit: How many. Default: all.
        """
        options: dict[str, Any] = {"stateMachineArn": self.arn}
        if status is not None:
            options["statusFilter"] = status
        if limit is not None:
            options["PaginationConfig"] = {"MaxItems": limit, "PageSize": min(limit, 1000)}
        with errors(f"listing the runs of {self.name!r}"):
            client = self.aws.sfn()
            try:
                for page in client.get_paginator("list_executions").paginate(**options):
                    for entry in page["executions"]:
                        yield RunSummary.read(entry)
            except client.exceptions.StateMachineDoesNotExist as error:
                raise no_machine(self.arn) from error


class RunHandle:
    """A run of a pipeline, as AWS describes it.

    Attributes:
        pipeline: The pipeline.
        name: Name of the execution, which is the name of the run.
        arn: ARN of the execution.
    """

    pipeline: PipelineHandle

    def __init__(self, pipeline: PipelineHandle, name: str) -> None:
        self.pipeline = pipeline
        self.name = name
        self.arn = arns.parse(pipeline.arn).execution_arn(name)
        self._known_by: float | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.pipeline.name!r} {self.arn}>"

    def was_just_started(self) -> Self:
        """Note that AWS may not know it for a while yet, as its answers are eventually consistent; return it."""
        self._known_by = time.monotonic() + _START_SECONDS
        return self

    def snapshot(self) -> RunHandle:
        """Return a handle that asks AWS each thing once: for one call, which then can't see two states of a run."""
        return _Snapshot(self)

    @property
    def aws(self) -> Aws:
        """Where it runs."""
        return self.pipeline.aws

    @property
    def prefix(self) -> str:
        """Where its files begin in the payload bucket, ending in a slash."""
        return f"{self.pipeline.definition.item_file.runs_prefix}{self.name}/"

    def describe(self, *, guess: bool = True) -> RunDescription:
        """Return what AWS says of it.

        Args:
            guess: Whether the error for a run that isn't there says which one may be meant.

        Raises:
            NotFoundError: AWS doesn't know it, or not any more: it forgets a run 90 days after its end.
            AwsError: AWS refused the call.
        """
        with errors(f"describing the run {self.name!r}"):
            client = self.aws.sfn()
            try:
                while True:
                    try:
                        answer = client.describe_execution(executionArn=self.arn)
                        break
                    except client.exceptions.ExecutionDoesNotExist:
                        if self._known_by is None or time.monotonic() > self._known_by:
                            raise
                    time.sleep(_PAUSE_SECONDS)
            except client.exceptions.ExecutionDoesNotExist as error:
                raise NotFoundError(
                    f"{self.pipeline.called!r} has no run {self.name!r}, or it ended more than 90 days ago"
                    f"{self.guess() if guess else ''}; `distmap list {self.pipeline.called}` shows the runs there are"
                ) from error
        return RunDescription.read(answer)

    def guess(self) -> str:
        """Return which of the latest runs was perhaps meant, as a part of a message; empty where none is like it."""
        try:
            return did_you_mean(self.name, [run.name for run in self.pipeline.runs(limit=_MOST_GUESSED)])
        except RunsError:
            return ""

    def describe_if_known(self) -> RunDescription | None:
        """Return what AWS says of it; None where AWS doesn't know it, or not any more."""
        try:
            return self.describe(guess=False)
        except NotFoundError:
            return None

    def failed_state(self) -> str | None:
        """Return the state it ended in, by its history; None where that doesn't tell, or isn't to be had."""
        what = f"reading the history of the run {self.name!r}"
        try:
            with errors(what):
                pages = self.aws.sfn().get_paginator("get_execution_history")
                pages_found = pages.paginate(
                    executionArn=self.arn,
                    reverseOrder=True,
                    includeExecutionData=False,
                    PaginationConfig={"MaxItems": _MOST_EVENTS},
                )
                before = None
                for event in (event for page in pages_found for event in page["events"]):
                    if before in {None, event["id"]}:
                        if "stateEnteredEventDetails" in event:
                            return event["stateEnteredEventDetails"]["name"]
                        # That of a run that was stopped has none before it: the latest one then.
                        before = event.get("previousEventId") or None
        except RunsError:
            pass
        return None

    def map_runs(self) -> list[MapRun]:
        """Return its outermost Map Runs, with their counts."""
        return [self.describe_map_run(arn) for arn in self.map_run_arns()]

    def map_run_arns(self) -> list[str]:
        """Return the ARNs of its outermost Map Runs."""
        with errors(f"listing the Map Runs of {self.name!r}"):
            pages = self.aws.sfn().get_paginator("list_map_runs").paginate(executionArn=self.arn)
            return [entry["mapRunArn"] for page in pages for entry in page["mapRuns"]]

    def own_map_runs(self) -> list[MapRun]:
        """Return its outermost Map Runs that are the pipeline's, and not of other maps in the same state machine."""
        return [self.describe_map_run(arn) for arn in self.own_map_run_arns()]

    def own_map_run_arns(self) -> list[str]:
        """Return the ARNs of these."""
        definition, nesting = self.pipeline.definition, self.pipeline.nesting
        labels = {arn: arns.parse(arn).label for arn in self.map_run_arns()}
        own = [arn for arn, label in labels.items() if definition.by_label(label) is not None]
        # The labels may have been others when the run began.
        return own or [arn for arn, label in labels.items() if not nesting.knows(label)]

    def round_numbers(self, maps: Iterable[MapRun]) -> dict[str, int]:
        """Return which of its Map Runs are rounds, by ARN: each with its number, from 1.

        Where a run accounts for itself, its first Map Run is that of its source, and every further one is a round of
        what had not succeeded; a redrive that begins the map anew looks like one.
        """
        definition = self.pipeline.definition
        if not definition.accounts:
            return {}
        own = [map_run for map_run in maps if definition.by_label(map_run.label) is not None]
        return {map_run.arn: number for number, map_run in enumerate(sorted(own, key=start_of)) if number}

    def describe_map_run(self, arn: str) -> MapRun:
        """Return what AWS says of a Map Run."""
        with errors(f"describing the Map Run {arn}"):
            return MapRun.read(self.aws.sfn().describe_map_run(mapRunArn=arn))


class _Snapshot(RunHandle):
    def __init__(self, run: RunHandle) -> None:
        super().__init__(run.pipeline, run.name)
        self._known_by = run._known_by  # noqa: SLF001 - its own class's
        self._description: RunDescription | None = None
        self._map_run_arns: list[str] | None = None
        self._map_runs: dict[str, MapRun] = {}

    def snapshot(self) -> RunHandle:
        return self

    def describe(self, *, guess: bool = True) -> RunDescription:
        if self._description is None:
            self._description = super().describe(guess=guess)
        return self._description

    def map_run_arns(self) -> list[str]:
        if self._map_run_arns is None:
            self._map_run_arns = super().map_run_arns()
        return self._map_run_arns

    def describe_map_run(self, arn: str) -> MapRun:
        if arn not in self._map_runs:
            self._map_runs[arn] = super().describe_map_run(arn)
        return self._map_runs[arn]
