"""The client: how pipelines and runs are found by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cdk_distributed_map.arns import is_arn
from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.sessions import Aws, error_code, errors
from cdk_distributed_map.runs.errors import AmbiguousNameError, InputError, NotFoundError
from cdk_distributed_map.runs.find import pipelines
from cdk_distributed_map.runs.find.names import LATEST, is_name
from cdk_distributed_map.runs.run import Pipeline, Run

_MOST_MACHINES_SEARCHED: Final = 100


class Client:
    """Finds pipelines and runs, on AWS or at a local endpoint.

    .. versionadded:: 0.1.0

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

    def __repr__(self) -> str:
        settings = {"profile": self.aws.profile, "region": self.aws.region, "endpoint_url": self.aws.endpoint_url}
        return f"Client({', '.join(f'{name}={value!r}' for name, value in settings.items() if value is not None)})"

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
        return Pipeline(self.aws, arn, called=None if is_arn(name) else name)

    def pipelines(self) -> Iterator[Pipeline]:
        """Yield the pipelines of the account and Region, each called by its label, in that order.

        It asks for the definition of every state machine.

        Raises:
            AwsError: AWS refused a call.
        """
        for label, arn in pipelines.pipelines_of_account(self.aws):
            yield Pipeline(self.aws, arn, called=label)

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
        for given_name in (name, target):
            if given_name is not None and is_arn(given_name) and arns.parse(given_name).kind != "stateMachine":
                arn = arns.parse(given_name)
                # A Map Run or a child belongs to a run, but its ARN doesn't say to which.
                if arn.kind != "execution" or arn.label:
                    raise InputError(
                        f"{given_name!r} is the ARN of a Map Run or of a child: give that of the run itself"
                    )
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
            latest = self._search(target)
            if latest is None:
                raise NotFoundError(f"{error}; and no run is called {target!r} either") from error
            return latest
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
