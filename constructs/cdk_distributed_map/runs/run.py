"""One run of a pipeline: what AWS says of it, and what can be done with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws import arns as arns_module
from cdk_distributed_map.runs.aws.descriptions import MapRun, RunDescription
from cdk_distributed_map.runs.aws.sessions import Aws, errors
from cdk_distributed_map.runs.errors import InputError, NotFoundError, RunStateError
from distmap.limits import MAX_CONCURRENT_CHILDREN

if TYPE_CHECKING:
    from cdk_distributed_map.runs.client import Pipeline
    from cdk_distributed_map.runs.ledger.reconciliation import Ledger
    from cdk_distributed_map.runs.results.item_results import Failure, ItemResult
    from cdk_distributed_map.runs.watch.progress import Progress

_START_SECONDS: Final = 30.0
"""How long a run that this client started may be unknown to AWS."""
_PAUSE_SECONDS: Final = 0.2


class Run:
    """A run of a pipeline.

    Attributes:
        pipeline: The pipeline.
        name: Name of the execution, which is the name of the run.
        arn: ARN of the execution.
    """

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self.pipeline = pipeline
        self.name = name
        self.arn = arns_module.parse(pipeline.arn).execution_arn(name)
        self._known_by: float | None = None

    def was_just_started(self) -> Run:
        """Note that AWS may not know it for a while yet, as its answers are eventually consistent; return it."""
        self._known_by = time.monotonic() + _START_SECONDS
        return self

    @property
    def aws(self) -> Aws:
        """Where it runs."""
        return self.pipeline.aws

    @property
    def prefix(self) -> str:
        """Where its files begin in the payload bucket, ending in a slash."""
        return f"{self.pipeline.definition.item_file.runs_prefix}{self.name}/"

    def describe(self) -> RunDescription:
        """Return what AWS says of it.

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
                    f"{self.pipeline.called!r} has no run {self.name!r}, or it ended more than 90 days ago; `distmap "
                    f"list {self.pipeline.called}` shows the runs there are"
                ) from error
        return RunDescription.read(answer)

    def map_runs(self) -> list[MapRun]:
        """Return its outermost Map Runs, with their counts."""
        return [self.describe_map_run(arn) for arn in self.map_run_arns()]

    def map_run_arns(self) -> list[str]:
        """Return the ARNs of its outermost Map Runs."""
        with errors(f"listing the Map Runs of {self.name!r}"):
            pages = self.aws.sfn().get_paginator("list_map_runs").paginate(executionArn=self.arn)
            return [each["mapRunArn"] for page in pages for each in page["mapRuns"]]

    def own_map_runs(self) -> list[MapRun]:
        """Return its outermost Map Runs that are the pipeline's, and not of other maps in the same state machine."""
        return [self.describe_map_run(arn) for arn in self.own_map_run_arns()]

    def own_map_run_arns(self) -> list[str]:
        """Return the ARNs of these."""
        definition, nesting = self.pipeline.definition, self.pipeline.nesting
        labels = {arn: arns_module.parse(arn).label for arn in self.map_run_arns()}
        own = [arn for arn, label in labels.items() if definition.by_label(label) is not None]
        # The labels may have been others when the run began.
        return own or [arn for arn, label in labels.items() if not nesting.knows(label)]

    def describe_map_run(self, arn: str) -> MapRun:
        """Return what AWS says of a Map Run."""
        with errors(f"describing the Map Run {arn}"):
            return MapRun.read(self.aws.sfn().describe_map_run(mapRunArn=arn))

    def watch(
        self,
        *,
        notice: Callable[[str], None] | None = None,
    ) -> Iterator[Progress]:
        """Yield how far it is, until it has ended; the last one is final.

        It calls DescribeMapRun no more than once in 5 seconds in the long run, so that five watchers stay within what
        AWS allows an account. Throttling, a lost network and expired credentials only make it wait: fresh credentials
        are picked up.

        Args:
            notice: Called with what gets in the way, in words. Default: nothing is said.
        """
        from cdk_distributed_map.runs.watch.progress import watch  # noqa: PLC0415 - only where somebody watches

        return watch(self, notice=notice)

    def wait(self) -> Progress:
        """Return when it has ended, with how it ended."""
        last = None
        for progress in self.watch():
            last = progress
        assert last is not None  # noqa: S101 - a watch yields at least once
        return last

    def results(
        self, *, ordered: bool = False, unsuccessful: bool = False, wait_seconds: float = 60.0
    ) -> Iterator[ItemResult]:
        """Yield the result of every item, those of the run's retries included, each item once.

        They are streamed: memory depends neither on how many there are nor on how large the files are.

        Args:
            ordered: Whether they come in the order of the items, sorted in temporary files. Default: in any order.
            unsuccessful: Whether items that did not succeed come too, at the end. Default: successes only.
            wait_seconds: How long to wait for results that Step Functions is still exporting. Default: a minute.

        Raises:
            NotReadyError: They are not exported yet.
            ResultFilesError: A file is missing, cut off or not what it should be.
            AwsError: AWS refused a call.
        """
        from cdk_distributed_map.runs.results import item_results  # noqa: PLC0415 - only what is used is imported

        return item_results.results(self, ordered=ordered, unsuccessful=unsuccessful, wait_seconds=wait_seconds)

    def ledger(self, *, wait_seconds: float = 60.0) -> Ledger:
        """Return the account of every item of the run and its retries, from its files.

        Args:
            wait_seconds: How long to wait for results that Step Functions is still exporting. Default: a minute.

        Raises:
            NotReadyError: They are not there after that.
            AwsError: AWS refused a call.
        """
        from cdk_distributed_map.runs.ledger import reconciliation  # noqa: PLC0415 - likewise

        return reconciliation.make_ledger(self, wait_seconds=wait_seconds)

    def nested_results(self, *, ordered: bool = False, unsuccessful: bool = False) -> Iterator[ItemResult]:
        """Yield the result of every item of the maps inside its children, one nested Map Run after another.

        ``map`` and ``path`` of each tell which one it is of. Of a Map Run that a retry ran again, the retry's count.

        Args:
            ordered: Whether those of a Map Run come in the order of its items. Default: in any order.
            unsuccessful: Whether items that did not succeed come too, at the end of their Map Run. Default: successes
                only.

        Raises:
            ResultFilesError: A file is missing, cut off or not what it should be.
            AwsError: AWS refused a call.
        """
        from cdk_distributed_map.runs.results import nested as nested_module  # noqa: PLC0415 - likewise

        return nested_module.results(self, ordered=ordered, unsuccessful=unsuccessful)

    def failures(self, ledger: Ledger | None = None) -> Iterator[Failure]:
        """Yield every item that failed or was left unprocessed and did not succeed in a retry.

        Items of nested maps come last, with the ``map`` and ``path`` they belong to. What can't be read is left out:
        the ledger's problems tell of it.

        Args:
            ledger: The run's ledger. Default: it is made.

        Raises:
            NotReadyError: The results are not exported yet.
            AwsError: AWS refused a call.
        """
        from cdk_distributed_map.runs.results import item_results  # noqa: PLC0415 - likewise
        from cdk_distributed_map.runs.results import nested as nested_module  # noqa: PLC0415 - likewise

        yield from item_results.failures(self, self.ledger() if ledger is None else ledger)
        if self.pipeline.definition.item_file.nested_maps:
            yield from nested_module.failures(self)

    def retry(
        self,
        *,
        name: str | None = None,
        input: dict[str, Any] | None = None,
        nested: bool = False,
        anyway: bool = False,
    ) -> Run | None:
        """Start a run of exactly the items that did not succeed, with their identities; None where all did.

        Failed, tolerated, timed out, unprocessed, pending and missing items are run again. Retries of retries belong
        to the same chain: ``ledger`` and ``results`` of any of its runs follow it.

        Args:
            name: Name of the new run. Default: ``<first run>-retry-<number>``.
            input: The rest of its input. Default: that of the first run.
            nested: Whether items that succeeded, though items of maps nested in them did not, are run again too: each
                with the whole of its nested maps, as what runs again is an item of the outermost one. Default: they
                aren't.
            anyway: Whether to run again what is missing from the account where that doesn't add up, because a result
                file is gone or broken: some of it may have been done. Default: it is refused.

        Raises:
            RunStateError: A run of the chain is still running.
            UnavailableItemsError: Items to run again are in no file of the chain, or its account doesn't add up.
            AwsError: AWS refused a call.
        """
        from cdk_distributed_map.runs.ledger import retry as retry_module  # noqa: PLC0415 - likewise

        return retry_module.retry(self, self.ledger(), name=name, given=input, nested=nested, anyway=anyway)

    def redrive_warning(self) -> str | None:
        """Return what a redrive would do that people don't expect, None where there is nothing to say.

        Raises:
            RunStateError: AWS would refuse it.
        """
        from cdk_distributed_map.runs.ledger import retry as retry_module  # noqa: PLC0415 - likewise

        described = self.describe()
        retry_module.check_redrivable(described)
        return retry_module.redrive_warning(described)

    def redrive(self) -> None:
        """Let AWS go on with it where it failed: unsuccessful children and items that were never started.

        Raises:
            RunStateError: AWS would refuse it.
            AwsError: AWS refused it.
        """
        self.redrive_warning()
        with errors(f"redriving the run {self.name!r}"):
            self.aws.sfn().redrive_execution(executionArn=self.arn)

    def stop(self, *, cause: str = "stopped by distmap") -> None:
        """Stop it. Running Standard children are aborted; Express children run to their end.

        Args:
            cause: Why, for those who look at it later.

        Raises:
            NotFoundError: AWS doesn't know it.
            RunStateError: It has ended already.
        """
        described = self.describe()
        if described.ended:
            raise RunStateError(f"{self.name!r} has ended already: {described.status}")
        with errors(f"stopping the run {self.name!r}"):
            self.aws.sfn().stop_execution(executionArn=self.arn, error="Distmap.Stopped", cause=cause)

    def update(
        self,
        *,
        max_concurrency: int | None = None,
        tolerated_failure_percentage: float | None = None,
        tolerated_failure_count: int | None = None,
        map_run_arn: str | None = None,
    ) -> list[MapRun]:
        """Change running Map Runs, and return them.

        Args:
            max_concurrency: Most children at once, 1 to 10,000. Default: as it is.
            tolerated_failure_percentage: Most items that may fail, 0 to 100 percent. Default: as it is.
            tolerated_failure_count: Most items that may fail. Default: as it is.
            map_run_arn: Which Map Run. Default: every outermost one that is running.

        Raises:
            InputError: A value is out of range, or there is nothing to change.
            NotFoundError: AWS doesn't know it.
            RunStateError: Nothing of it is running.
        """
        changes: dict[str, Any] = {}
        for name, key, value, most in (
            ("max_concurrency", "maxConcurrency", max_concurrency, MAX_CONCURRENT_CHILDREN),
            ("tolerated_failure_percentage", "toleratedFailurePercentage", tolerated_failure_percentage, 100),
            ("tolerated_failure_count", "toleratedFailureCount", tolerated_failure_count, None),
        ):
            least = 1 if key == "maxConcurrency" else 0
            if value is None:
                continue
            if not least <= value <= (math.inf if most is None else most):  # which no NaN is
                limit = f"at least {least}" if most is None else f"{least} to {most:,}"
                raise InputError(f"{name} must be {limit}, got {value}")
            changes[key] = value
        if not changes:
            raise InputError("there is nothing to change: give a concurrency or a tolerance")
        if map_run_arn is not None:
            given = arns_module.parse(map_run_arn)
            if given.kind != "mapRun" or given.machine_arn() != self.pipeline.arn:
                raise InputError(f"{map_run_arn} is no Map Run of {self.pipeline.called!r}: see `distmap watch --json`")
        arns = [map_run_arn] if map_run_arn is not None else self._running_map_runs()
        for arn in arns:
            with errors(f"updating the Map Run {arn}"):
                self.aws.sfn().update_map_run(mapRunArn=arn, **changes)
        return [self.describe_map_run(arn) for arn in arns]

    def _running_map_runs(self) -> list[str]:
        described = self.describe()
        running = [each.arn for each in self.map_runs() if each.status == "RUNNING"]
        if not running:
            raise RunStateError(
                f"no map of {self.name!r} is running, and the run is {described.status}: only a running map can "
                "be changed"
            )
        return running
