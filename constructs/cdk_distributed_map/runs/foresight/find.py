"""Finding what a plan is of: in a cloud assembly first, which may not be deployed yet, and then on AWS."""

from __future__ import annotations

from pathlib import Path

from cdk_distributed_map.arns import is_arn
from cdk_distributed_map.plan import Described
from cdk_distributed_map.runs.aws.sessions import Aws
from cdk_distributed_map.runs.errors import NotFoundError, RunsError
from cdk_distributed_map.runs.find import pipelines
from cdk_distributed_map.runs.foresight import assembly, deployed


def find(aws: Aws, name: str, *, folder: Path) -> Described:
    """Return a pipeline by its name.

    Args:
        aws: Where it may be deployed.
        name: ``Construct``, ``Stack/Construct``, a stack with a single pipeline, the name of the state machine, or its
            ARN, which is looked for on AWS alone.
        folder: The cloud assembly where it is looked for first, if there is one.

    Raises:
        NotFoundError: There is none of this name, or several.
        InputError: The assembly can't be read.
        AwsError: AWS refused a call.
    """
    is_assembly = (folder / "manifest.json").is_file()
    if is_assembly and not is_arn(name):
        found = assembly.find(folder, name)
        if found is not None:
            return found
    try:
        arn = pipelines.find_machine(aws, name)
    except RunsError as error:
        if not is_assembly:
            raise NotFoundError(
                f"{error}; and there is no assembly in {folder}: write one with `cdk synth`, or name its folder with "
                "--assembly"
            ) from error
        known = ", ".join(assembly.known_names(folder)) or "none"
        raise NotFoundError(
            f"{folder} has no pipeline {name!r} (its state machines are {known}), and it isn't found on AWS: {error}"
        ) from error
    return deployed.described(aws, arn, name=name)
