"""A pipeline and its runs: what AWS says of them, and what can be done with them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from cdk_distributed_map.arns import is_arn
from cdk_distributed_map.runs import start as start_module
from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.descriptions import MapRun, RunSummary
from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import InputError, NotFoundError, RunStateError
from cdk_distributed_map.runs.files import item_files, item_formats
from cdk_distributed_map.runs.files.unread import unread
from cdk_distributed_map.runs.find.handles import PipelineHandle, RunHandle
from cdk_distributed_map.runs.find.names import LATEST, check_name, new_name
from cdk_distributed_map.runs.ledger import reconciliation, redrives
from cdk_distributed_map.runs.ledger import retry as retry_module
from cdk_distributed_map.runs.ledger.of_run import Ledger
from cdk_distributed_map.runs.ledger.own_account import own_account
from cdk_distributed_map.runs.results import combined, item_failures, item_results
from cdk_distributed_map.runs.results import nested as nested_results
from cdk_distributed_map.runs.results.item_failures import Failure
from cdk_distributed_map.runs.results.item_results import ItemResult
from cdk_distributed_map.runs.watch import watcher
from cdk_distributed_map.runs.watch.progress import Progress
from distmap.limits import MAX_CONCURRENT_CHILDREN

if TYPE_CHECKING:
    from cdk_distributed_map.plan import Forecast


class Pipeline(PipelineHandle):
    """A deployed pipeline.

    .. versionadded:: 0.1.0

    Attributes:
        arn: ARN of its state machine.
        name: Name of its state machine.
        called: What it was found by; its state machine's name where that was an ARN.
    """

    def run(self, name: str = LATEST) -> Run:
        """Return one of its runs.

        Args:
            name: Its name or ARN. Default: the latest.

        Raises:
            NotFoundError: It has no runs.
        """
        if is_arn(name):
            arn = arns.parse(name)
            if arn.machine_arn() != self.arn:
                raise InputError(f"{name} is no run of {self.name!r}")
            name = arn.name
        if not name.strip():
            raise InputError(f"the run's name is empty: is a variable unset? {LATEST!r} stands for the latest run")
        if name == LATEST:
            latest = next(self.runs(limit=1), None)
            if latest is None:
                raise NotFoundError(f"{self.called!r} has no runs yet: start one with `distmap run`")
            name = latest.name
        return Run(self, name)

    def plan(self, *, items: int, item_seconds: float, item_p99: float | None = None, **facts: Any) -> Forecast:
        """Return what a run is expected to take and cost, by the deployed definition; nothing is started.

        Args:
            items: Number of items.
            item_seconds: Seconds that an item takes, in the median.
            item_p99: Seconds that 99 of 100 items take at most. Default: all take the same.
            facts: What else is known: see :func:`cdk_distributed_map.plan.plan`.

        Raises:
            NotFoundError: There is no such state machine.
            InputError: AWS would refuse such a run, or end it.
            AwsError: AWS refused a call.
        """
        # Each command would load them with its pipeline, and few plan.
        from cdk_distributed_map.plan import plan  # noqa: PLC0415
        from cdk_distributed_map.runs.foresight import deployed  # noqa: PLC0415

        described = deployed.described(self.aws, self.arn, name=self.called)
        try:
            return plan(described, items=items, item_seconds=item_seconds, item_p99=item_p99, **facts)
        except ValueError as error:
            raise InputError(str(error)) from error

    def start(
        self,
        input: Any = None,
        *,
        items: BinaryIO | None = None,
        items_format: item_formats.FileFormat | None = None,
        items_from: tuple[str, str] | None = None,
        name: str | None = None,
    ) -> Run:
        """Start a run, or find it where one of this name and input was started already.

        Args:
            input: The execution's input, which is JSON. Default: ``{}``.
            items: A file of items to run on instead of the pipeline's source. It is uploaded to the run's folder.
            items_format: Format of the items. Default: JSON Lines for a file, by the key's end for a place in S3.
            items_from: Bucket and key of a file of items to run on. It is used where it is if that is under ``runs/``
                or ``items/`` of the payload bucket, and copied to the run's folder otherwise.
            name: Name of the run. Default: a unique one that begins with the map's label. With a name that you give,
                starting twice with the same input starts one run.

        Raises:
            InputError: AWS or the pipeline would refuse it, or there is another run of this name.
            AwsError: AWS refused a call.
        """
        value = {} if input is None else input
        if items is None and items_from is None:
            chosen = new_name(self.definition.source.label) if name is None else check_name(name)
            begin = start_module.start if name is None else start_module.start_named
            return Run(self, chosen, is_new=begin(self, chosen, value)).was_just_started()
        if items is not None and items_from is not None:
            raise InputError("give the items either as a file or as a place in S3, not both")
        if not isinstance(value, dict) or "items" in value:
            raise InputError("with a file of items the input must be an object without 'items', which names the file")
        chosen = new_name(self.definition.item_file.label) if name is None else check_name(name)
        if items is not None:
            described = getattr(items, "name", "the items")
            spooled = item_files.spool(
                items, items_format or "jsonl", self.definition, name=described, notice=self.aws.notice
            )
            is_new = start_module.start_spooled(self, chosen, value, spooled)
        else:
            assert items_from is not None  # noqa: S101 - narrows the type
            bucket, key = items_from
            is_new = start_module.start_from(self, chosen, value, bucket=bucket, key=key, items_format=items_format)
        return Run(self, chosen, is_new=is_new).was_just_started()


class Run(RunHandle):
    """A run of a pipeline.

    .. versionadded:: 0.1.0

    Attributes:
        pipeline: The pipeline.
        name: Name of the execution, which is the name of the run.
        arn: ARN of the execution.
        is_new: Whether ``Pipeline.start`` started it, and didn't find it started with the same name and input.
    """

    pipeline: Pipeline

    def __init__(self, pipeline: Pipeline, name: str, *, is_new: bool = False) -> None:
        super().__init__(pipeline, name)
        self.is_new = is_new

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
            notice: Called with a message about what gets in the way. Default: there are no messages.
        """
        return watcher.watch(self, notice=notice)

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
        return item_results.results(self, ordered=ordered, unsuccessful=unsuccessful, wait_seconds=wait_seconds)

    def ledger(self, *, wait_seconds: float = 60.0, recount: bool = False) -> Ledger:
        """Return the account of every item of the run and its retries.

        A run that accounts for itself has it in a file, which is taken where it is of the run's latest attempt and
        there are no retries. Otherwise it is counted from the files of the run and its retries.

        Args:
            wait_seconds: How long to wait for results that Step Functions is still exporting. Default: a minute.
            recount: Whether to count in any case. What the run's own account says otherwise is among the problems.
                Default: its own account is taken where there is one.

        Raises:
            NotReadyError: They are not there after that.
            AwsError: AWS refused a call.
        """
        return reconciliation.make_ledger(self, wait_seconds=wait_seconds, recount=recount)

    def own_ledger(self, described: RunSummary | None = None) -> Ledger | None:
        """Return the account that the run wrote of itself, retries aside.

        Args:
            described: What AWS says of the run, where that is known. Default: AWS is asked.

        Returns:
            The account; None where there is none of the run's latest attempt, as while it is running.

        Raises:
            AwsError: AWS refused a call.
        """
        return own_account(self, self.describe_if_known() if described is None else described)

    def why_unread(self) -> str | None:
        """Return why it ended before it had read its items, and in which state; None where it read them, or goes on.

        Raises:
            AwsError: AWS refused a call.
        """
        unread_run = unread(self, self.describe_if_known(), known=False)
        return None if unread_run is None else unread_run.why

    def _recount(self) -> Ledger:
        return self.ledger(recount=True)

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
        return nested_results.results(self, ordered=ordered, unsuccessful=unsuccessful)

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
        yield from item_failures.failures(self, self.ledger() if ledger is None else ledger, recount=self._recount)
        if self.pipeline.definition.item_file.nested_maps:
            yield from nested_results.failures(self)

    def retry(
        self,
        *,
        name: str | None = None,
        input: dict[str, Any] | None = None,
        nested: bool = False,
        include_missing: bool = False,
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
            include_missing: Whether to run again what is missing from the account where that doesn't add up, because a
                result file is gone or broken: some of it may have been done. Default: it is refused.
            anyway: The former name of ``include_missing``, with a warning.

        Raises:
            RunStateError: A run of the chain is still running.
            UnavailableItemsError: Items to run again are in no file of the chain, or its account doesn't add up.
            AwsError: AWS refused a call.
        """
        if anyway:
            warnings.warn("retry(anyway=) is named include_missing now", DeprecationWarning, stacklevel=2)
        started = retry_module.retry(
            self, self._recount(), name=name, input=input, nested=nested, include_missing=include_missing or anyway
        )
        return None if started is None else Run(self.pipeline, started).was_just_started()

    def combine(self) -> Any:
        """Return what the combine function makes anew of all results of the run and its retries.

        Raises:
            InputError: The pipeline has no combine function.
            NotReadyError: There are no results.
            RunFailedError: The function failed, or the run before it had read an item.
            AwsError: AWS refused a call.
        """
        return combined.combine(self)

    def redrive_warning(self) -> str | None:
        """Return what a redrive would do that people don't expect, None where there is nothing to say.

        Raises:
            RunStateError: AWS would refuse it.
        """
        described = self.describe()
        redrives.check_redrivable(described)
        return redrives.redrive_warning(described)

    def redrive_effect(self) -> str:
        """Return what a redrive would do, by what the run failed with.

        Raises:
            RunStateError: AWS would refuse it.
            AwsError: AWS refused a call.
        """
        described = self.describe()
        redrives.check_redrivable(described)
        return redrives.redrive_effect(self, described)

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
            max_concurrency: Maximum number of children at a time, 1 to 10,000. Default: unchanged.
            tolerated_failure_percentage: Share of items that may fail, 0 to 100 percent. Default: unchanged.
            tolerated_failure_count: Number of items that may fail. Default: unchanged.
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
            parsed = arns.parse(map_run_arn)
            if parsed.kind != "mapRun" or parsed.machine_arn() != self.pipeline.arn:
                raise InputError(f"{map_run_arn} is no Map Run of {self.pipeline.called!r}: see `distmap watch --json`")
        changed = [map_run_arn] if map_run_arn is not None else self._running_map_runs()
        for arn in changed:
            with errors(f"updating the Map Run {arn}"):
                self.aws.sfn().update_map_run(mapRunArn=arn, **changes)
        return [self.describe_map_run(arn) for arn in changed]

    def _running_map_runs(self) -> list[str]:
        described = self.describe()
        running = [map_run.arn for map_run in self.map_runs() if map_run.status == "RUNNING"]
        if not running:
            raise RunStateError(
                f"no map of {self.name!r} is running, and the run is {described.status}: only a running map can "
                "be changed"
            )
        return running
