"""Deployment of an assembly, with the packages that its functions need here: they are fetched where somebody watches.

The first call of a function would fetch them too, and its caller wait without a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.local.embedded.assembly import AssemblyStack
from cdk_distributed_map.local.embedded.deploy import Deployer, Progress, choose
from cdk_distributed_map.local.functions.packages import fetch
from cdk_distributed_map.local.functions.pythons import UnsupportedRuntimeError, python_for


def deploy(
    folder: Path,
    stacks: Iterable[str],
    client: Callable[[str], Any],
    *,
    account: str,
    region: str,
    progress: Progress | None,
) -> dict[str, dict[str, str]]:
    """Deploy the stacks of an assembly; see :class:`Deployer`."""
    chosen = choose(folder, stacks)
    deployer = Deployer(client, account=account, region=region, progress=progress)
    outputs = deployer.deploy(chosen)
    if progress is not None:
        for stack in chosen:
            _fetch_for(stack, progress)
    return outputs


def _fetch_for(stack: AssemblyStack, progress: Progress) -> None:
    resources: Mapping[str, Any] = json.loads(stack.template.read_text(encoding="utf-8")).get("Resources", {})
    assets = {asset.key: asset.path for asset in stack.assets if asset.zipped and asset.path.is_dir()}

    def folders(reference: Any, field: str) -> Iterator[Path]:
        content = resources.get(reference, {}).get("Properties", {}).get(field) if isinstance(reference, str) else None
        key = content.get("S3Key") if isinstance(content, dict) else None
        if isinstance(key, str) and key in assets:
            yield assets[key]

    def say(text: str) -> None:
        progress(f"{stack.label}: {text}")

    for name, resource in resources.items():
        if resource.get("Type") != "AWS::Lambda::Function":
            continue
        try:
            python, _ = python_for(str(resource["Properties"].get("Runtime")))
            layers = [each.get("Ref") for each in resource["Properties"].get("Layers", []) if isinstance(each, dict)]
            below = [folder for layer in layers for folder in folders(layer, "Content")]
            for code in folders(name, "Code"):
                fetch(name, code, below, python, say=say)
        except UnsupportedRuntimeError:
            continue  # it is told when the function is called
        except BundlingError as error:
            say(f"{error}: its calls fail")
