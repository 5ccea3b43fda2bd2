"""The client: pipelines, and the runs of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.descriptions import RunSummary
from cdk_distributed_map.runs.aws.sessions import Aws, error_code, errors
from cdk_distributed_map.runs.errors import AmbiguousNameError, InputError, NotFoundError
from cdk_distributed_map.runs.files import item_files
from cdk_distributed_map.runs.find import pipelines
from cdk_distributed_map.runs.find.definition import Nesting, PipelineDefinition, read_definition, read_nesting
from cdk_distributed_map.runs.find.names import LATEST, check_name, is_name, new_name
from cdk_distributed_map.runs.run import Run
from distmap._errors import NotJsonError
from distmap._json import encode
from distmap.limits import MAX_PAYLOAD_BYTES
from distmap.wire import ItemFile

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeStateMachineOutputTypeDef

_MOST_MACHINES_SEARCHED: Final = 100


class Client:
    """Finds pipelines and runs, on AWS or at a local endpoint.

    Args:
        profile: Profile of the AWS configuration. Default: that of the environment, or the default one.
        region: Region. Default: that of the environment or the profile.
        endpoint_url: One endpoint for all services, such as a local engine. Default: that of the environment or the
            profile (``AWS_ENDPOINT_URL``), or AWS's own. That of a ``LocalAws`` of this process brings its Region and
            its keys with it.

    Example::

        client = Client()
        run = client.pipeline("Squares").start({"number": 100_000, "chunk": 5})
        outcome = run.wait()
        for result in run.results():
            print(result.index, result.value)
    """

    def __init__(
        self, *, profile: str | None = None, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        self.aws = Aws(profile=profile, region=region, endpoint_url=endpoint_url)

    def pipeline(self, name: str) -> Pipeline:
        """Return a pipeline.

        Args:
            name: ``Construct``, ``Stack/Construct``, a stack with a single pipeline, the name of the state machine,
                or its ARN.

        Raises:
            NotFoundError: There is none of this name, or several.
            AwsError: AWS refused a call.
        """
        arn = pipelines.find_machine(self.aws, name)
        return Pipeline(self.aws, arn, called=None if arns.is_arn(name) else name)

    def run(self, target: str, name: str | None = None) -> Run:
        """Return a run.

        Args:
            target: A pipeline, or the ARN or the name of a run.
            name: Name or ARN of the run, or ``latest``. Default: what ``target`` names, or the latest run where that
                is a pipeline.

        Raises:
            NotFoundError: There is no such pipeline or run.
            AwsError: AWS refused a call.
        """
        for each in (name, target):
            if each is not None and arns.is_arn(each) and arns.parse(each).kind != "stateMachine":
                arn = arns.parse(each)
                # A Map Run or a child belongs to a run, but its ARN doesn't say to which.
                if arn.kind != "execution" or arn.label:
                    raise InputError(f"{each!r} is the ARN of a Map Run or of a child: give that of the run itself")
                pipelines.check_region(self.aws, arn)
                return Pipeline(self.aws, arn.machine_arn()).run(arn.name)
        if name is not None:
            return self.pipeline(target).run(name)
        try:
            pipeline = self.pipeline(target)
        except AmbiguousNameError:
            raise
        except NotFoundError as error:
            if not is_name(target):
                raise
            found = self._search(target)
            if found is None:
                raise NotFoundError(f"{error}; and no run is called {target!r} either") from error
            return found
        return pipeline.run(LATEST)

    def _search(self, name: str) -> Run | None:
        """Return the run of this name, whatever pipeline it is of."""
        client = self.aws.sfn()
        for number, (_, machine) in enumerate(pipelines.machines_of_account(self.aws)):
            if number >= _MOST_MACHINES_SEARCHED:
                raise NotFoundError(
                    f"there are more than {_MOST_MACHINES_SEARCHED} state machines to search for the run {name!r}: "
                    "name its pipeline too"
                )
            with errors(f"looking for the run {name!r}"):
                try:
                    client.describe_execution(executionArn=arns.parse(machine).execution_arn(name))
                except client.exceptions.ClientError as error:
                    if error_code(error) in {"ExecutionDoesNotExist", "InvalidArn"}:
                        continue
                    raise
            return Pipeline(self.aws, machine).run(name)
        return None


class Pipeline:
    """A deployed pipeline.

    Attributes:
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
                    raise self._unknown() from error
            if machine["type"] == "EXPRESS":
                raise NotFoundError(
                    f"the state machine {self.name!r} is an Express one, which can hold no pipeline: name the "
                    "pipeline's own state machine, or its stack and construct as 'Stack/Construct'"
                )
            self._machine = machine
        return self._machine

    def _unknown(self) -> NotFoundError:
        return NotFoundError(f"there is no state machine {self.arn}: look at the name, and at --profile and --region")

    @property
    def log_group(self) -> str | None:
        """Name of the log group of its state machine, None where it has none."""
        destinations = self._described().get("loggingConfiguration", {}).get("destinations", [])
        groups = [each["cloudWatchLogsLogGroup"]["logGroupArn"] for each in destinations]
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
                raise self._unknown() from error

    def run(self, name: str = LATEST) -> Run:
        """Return one of its runs.

        Args:
            name: Its name or ARN. Default: the latest.

        Raises:
            NotFoundError: It has no runs.
        """
        if arns.is_arn(name):
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

    def start(
        self,
        input: Any = None,
        *,
        items: BinaryIO | None = None,
        items_format: item_files.FileFormat | None = None,
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
        given = {} if input is None else input
        if items is None and items_from is None:
            chosen = new_name(self.definition.source.label) if name is None else check_name(name)
            return self._start(chosen, given)
        if items is not None and items_from is not None:
            raise InputError("give the items either as a file or as a place in S3, not both")
        if not isinstance(given, dict) or "items" in given:
            raise InputError("with a file of items the input must be an object without 'items', which names the file")
        chosen = new_name(self.definition.item_file.label) if name is None else check_name(name)
        if items is not None:
            told = getattr(items, "name", "the items")
            spooled = item_files.spool(
                items, items_format or "jsonl", self.definition, name=told, notice=self.aws.notice
            )
            return self.start_spooled(chosen, given, spooled)
        assert items_from is not None  # noqa: S101 - narrows the type
        return self._start_from(chosen, given, *items_from, items_format)

    def _start_from(
        self, name: str, given: dict[str, Any], bucket: str, key: str, items_format: item_files.FileFormat | None
    ) -> Run:
        if item_files.is_in_place(bucket, key, self.definition):
            reads = self.definition.item_file.input_type
            if items_format is not None and items_format.upper() != reads:
                raise InputError(
                    f"s3://{bucket}/{key} is used where it is, and the pipeline's map reads {reads} there, got the "
                    f"format {items_format!r}: leave it out, or put the file elsewhere for it to be converted"
                )
            return self._start(name, {**given, "items": {"bucket": bucket, "key": key}})
        file_format = item_files.format_of(key, items_format)  # before a download of gigabytes
        source = item_files.download(self.aws, bucket=bucket, key=key)
        with source:
            spooled = item_files.spool(
                source,  # type: ignore[arg-type] # a temporary file is a binary file
                file_format,
                self.definition,
                name=f"s3://{bucket}/{key}",
                notice=self.aws.notice,
            )
        return self.start_spooled(name, given, spooled)

    def start_spooled(
        self,
        name: str,
        given: dict[str, Any],
        spooled: item_files.SpooledItems,
        *,
        key: str | None = None,
        first_run: str | None = None,
    ) -> Run:
        """Upload items and start a run on them, unless the same run was started already.

        Args:
            name: Name of the run.
            given: The rest of its input.
            spooled: The items; closed afterwards.
            key: Where they belong in the payload bucket. Default: the run's own folder.
            first_run: ARN of the run that had these items first, where they are envelopes (a retry).
        """
        try:
            bucket = self.definition.item_file.bucket
            place = item_files.items_key(self.definition, name) if key is None else key
            file: ItemFile = spooled.item_file(bucket=bucket, key=place, first_run=first_run)
            whole = {**given, "items": file}
            run = Run(self, name)
            if self._is_same(run, whole):
                return run
            spooled.upload(self.aws, bucket=bucket, key=place)
            return self._start(name, whole)
        finally:
            spooled.close()

    def _is_same(self, run: Run, given: Any) -> bool:
        """Tell whether a run was started already with this input; raise where it was with another."""
        try:
            existing = run.describe()
        except NotFoundError:
            return False
        if existing.input != given:
            raise InputError(
                f"there is a run {run.name!r} already, started {existing.started:%Y-%m-%d %H:%M} with another input: "
                "choose another name, or leave it out to get a unique one"
            )
        return True

    def _start(self, name: str, given: Any) -> Run:
        try:
            text = encode(given, what="the input")
        except NotJsonError as error:
            raise InputError(str(error)) from error
        if len(text) > MAX_PAYLOAD_BYTES:
            raise InputError(
                f"the input has {len(text):,} bytes, the limit is {MAX_PAYLOAD_BYTES:,}: put the items into a file and "
                "start with that (--items)"
            )
        run = Run(self, name)
        with errors(f"starting the run {name!r}"):
            client = self.aws.sfn()
            try:
                client.start_execution(stateMachineArn=self.arn, name=name, input=text.decode())
            except client.exceptions.ExecutionAlreadyExists:
                # AWS finds a running execution of the same input by itself, but not one that has ended.
                self._is_same(run.was_just_started(), given)
            except client.exceptions.StateMachineDoesNotExist as error:
                raise self._unknown() from error
        return run.was_just_started()
