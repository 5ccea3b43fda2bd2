"""Reads a cloud assembly, the folder that CDK synthesizes: its stacks in order, and their assets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_STACK: Final = "aws:cloudformation:stack"
_ASSETS: Final = "cdk:asset-manifest"
_NESTED: Final = "cdk:cloud-assembly"


class AssemblyError(ValueError):
    """A folder is no cloud assembly, or one that cannot be deployed locally."""


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file to be published.

    Args:
        path: The file, or the folder to be zipped.
        zipped: Whether it is a folder to be zipped.
        bucket: Name of its bucket, with CDK's placeholders.
        key: Its key, likewise.
    """

    path: Path
    zipped: bool
    bucket: str
    key: str


@dataclass(frozen=True, kw_only=True)
class AssemblyStack:
    """A stack to be deployed.

    Args:
        id: Its artifact's id, which is unique in its assembly.
        name: Its name in CloudFormation.
        label: Its path in the app, which people call it by.
        template: File of its template.
        account: Account it is for, None for any.
        region: Region it is for, None for any.
        parameters: Values of its parameters.
        tags: Its tags.
        assets: What it needs published.
        bootstrap_parameter: Name of the SSM parameter that says the version of the bootstrap; None where it needs none.
        depends_on: Ids of the stacks to be deployed before.
    """

    id: str
    name: str
    label: str
    template: Path
    account: str | None
    region: str | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()
    bootstrap_parameter: str | None = None
    depends_on: frozenset[str] = frozenset()


def read_assembly(folder: Path) -> list[AssemblyStack]:
    """Return the stacks of an assembly, those of its stages included, each after those it depends on.

    Raises:
        AssemblyError: The folder is no cloud assembly, or holds what cannot be deployed locally.
    """
    found = {stack.id: stack for stack in _read(folder)}
    ordered: list[AssemblyStack] = []
    done: set[str] = set()

    def place(stack: AssemblyStack) -> None:
        if stack.id in done:
            return
        done.add(stack.id)
        for other in sorted(stack.depends_on):
            if other in found:
                place(found[other])
        ordered.append(stack)

    for stack in found.values():
        place(stack)
    return ordered


def _read(folder: Path) -> Iterator[AssemblyStack]:
    manifest = _load(folder / "manifest.json", folder)
    artifacts: Mapping[str, Any] = manifest.get("artifacts", {})
    for id_, artifact in artifacts.items():
        if artifact["type"] == _NESTED:
            yield from _read(folder / artifact["properties"]["directoryName"])
        elif artifact["type"] == _STACK:
            yield _stack(folder, id_, artifact, artifacts)


def _load(file: Path, folder: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{folder} is not a cloud assembly, {file.name} is not there: run cdk synth first"
        raise AssemblyError(message) from error
    except ValueError as error:
        message = f"{file} is not JSON: {error}"
        raise AssemblyError(message) from error
    if not isinstance(loaded, dict):
        message = f"{file} must hold an object, got {type(loaded).__name__}"
        raise AssemblyError(message)
    return loaded


def _stack(folder: Path, id_: str, artifact: Mapping[str, Any], artifacts: Mapping[str, Any]) -> AssemblyStack:
    properties = artifact["properties"]
    account, region = artifact["environment"].removeprefix("aws://").split("/")
    assets: list[Asset] = []
    for other in artifact.get("dependencies", []):
        if artifacts.get(other, {}).get("type") == _ASSETS:
            assets += _assets(folder, artifacts[other]["properties"]["file"])
    return AssemblyStack(
        id=id_,
        name=properties.get("stackName", id_),
        label=artifact.get("displayName", id_),
        template=folder / properties["templateFile"],
        account=None if account == "unknown-account" else account,
        region=None if region == "unknown-region" else region,
        parameters=properties.get("parameters", {}),
        tags=properties.get("tags", {}),
        assets=tuple(assets),
        bootstrap_parameter=properties.get("bootstrapStackVersionSsmParameter"),
        depends_on=frozenset(artifact.get("dependencies", [])),
    )


def _assets(folder: Path, file: str) -> Iterator[Asset]:
    manifest = _load(folder / file, folder)
    if manifest.get("dockerImages"):
        message = f"{folder / file} has container images, which do not run locally: use functions from zip files"
        raise AssemblyError(message)
    for id_, entry in manifest.get("files", {}).items():
        source = entry["source"]
        if "path" not in source:
            message = f"the asset {id_} in {folder / file} is built by a command when it is published: not done locally"
            raise AssemblyError(message)
        for destination in entry["destinations"].values():
            yield Asset(
                path=folder / source["path"],
                zipped=source.get("packaging", "file") == "zip",
                bucket=destination["bucketName"],
                key=destination["objectKey"],
            )
