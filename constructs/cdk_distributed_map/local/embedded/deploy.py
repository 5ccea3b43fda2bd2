"""Deploys a cloud assembly without npm, over the same API calls that the CDK's own command makes."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from cdk_distributed_map.local.embedded.assembly import AssemblyError, AssemblyStack, Asset, read_assembly
from cdk_distributed_map.local.embedded.errors import DeployError

BOOTSTRAP_VERSION: Final = "30"
"""A version of the bootstrap above what any template asks for."""
_POLL_SECONDS: Final = 0.1
_GIVE_UP_SECONDS: Final = 600.0
_CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)

Progress = Callable[[str], None]


class Deployer:
    """Deploys assemblies to one endpoint.

    Args:
        client: Makes boto3 clients, by the name of the service.
        account: Account of the endpoint.
        region: Region of the endpoint.
        progress: Called with each line of progress.
    """

    def __init__(
        self, client: Callable[[str], Any], *, account: str, region: str, progress: Progress | None = None
    ) -> None:
        self._cloudformation = client("cloudformation")
        self._s3 = client("s3")
        self._ssm = client("ssm")
        self._account = account
        self._region = region
        self._progress = progress if progress is not None else _silent

    def deploy(self, chosen: Sequence[AssemblyStack]) -> dict[str, dict[str, str]]:
        """Deploy stacks of an assembly in their order.

        Args:
            chosen: The stacks.

        Returns:
            The outputs of each stack, by its name.

        Raises:
            AssemblyError: A stack is for another account or region.
            DeployError: CloudFormation refused a stack; it names each resource that failed, and why.
        """
        for stack in chosen:
            self._check_environment(stack)
        outputs = {}
        for stack in chosen:
            self._bootstrap(stack)
            self._publish(stack)
            outputs[stack.name] = self._deploy(stack)
        return outputs

    def _check_environment(self, stack: AssemblyStack) -> None:
        for what, wanted, here in (
            ("account", stack.account, self._account),
            ("region", stack.region, self._region),
        ):
            if wanted is not None and wanted != here:
                message = (
                    f"the stack {stack.label} is for the {what} {wanted}, but this is {here}: "
                    f"start with {what} {wanted}, or leave the {what} out of the stack's environment"
                )
                raise AssemblyError(message)

    def _resolve(self, text: str) -> str:
        return (
            text.replace("${AWS::AccountId}", self._account)
            .replace("${AWS::Region}", self._region)
            .replace("${AWS::Partition}", "aws")
        )

    def _bootstrap(self, stack: AssemblyStack) -> None:
        for bucket in {self._resolve(asset.bucket) for asset in stack.assets}:
            try:
                self._s3.head_bucket(Bucket=bucket)
            except ClientError:
                self._progress(f"{stack.label}: making the bucket for assets, {bucket}")
                self._s3.create_bucket(Bucket=bucket, **_location(self._region))
        name = stack.bootstrap_parameter
        if name is None:
            return
        try:
            self._ssm.get_parameter(Name=name)
        except ClientError:
            self._ssm.put_parameter(Name=name, Value=BOOTSTRAP_VERSION, Type="String")

    def _publish(self, stack: AssemblyStack) -> None:
        for asset in stack.assets:
            bucket, key = self._resolve(asset.bucket), self._resolve(asset.key)
            try:
                self._s3.head_object(Bucket=bucket, Key=key)
            except ClientError:
                body = _contents(asset)
                self._progress(f"{stack.label}: publishing {asset.path.name} ({len(body):,} bytes)")
                self._s3.put_object(Bucket=bucket, Key=key, Body=body)

    def _deploy(self, stack: AssemblyStack) -> dict[str, str]:
        before = self._describe(stack.name)
        if before is not None and before["StackStatus"] in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"}:
            # CloudFormation updates no stack whose creation failed.
            self._cloudformation.delete_stack(StackName=stack.name)
            self._wait(stack, time.time())
            before = None
        started = time.time()
        arguments = {
            "StackName": stack.name,
            "Capabilities": list(_CAPABILITIES),
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in stack.parameters.items()],
            "Tags": [{"Key": k, "Value": v} for k, v in stack.tags.items()],
            **self._template(stack),
        }
        seen = {event["EventId"] for event in self._events(stack.name)} if before is not None else set()
        try:
            if before is None:
                self._cloudformation.create_stack(**arguments)
            else:
                self._cloudformation.update_stack(**arguments)
        except ClientError as error:
            text = error.response["Error"]["Message"]
            if "No updates are to be performed" in text:
                self._progress(f"{stack.label}: nothing to change")
                return _outputs(before)
            raise DeployError(stack.name, [text]) from error
        after = self._wait(stack, started, seen)
        status = after["StackStatus"] if after is not None else "gone"
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            raise DeployError(stack.name, self._reasons(stack.name, seen, after))
        self._progress(f"{stack.label}: {status.lower().replace('_', ' ')} in {time.time() - started:.1f} s")
        return _outputs(after)

    def _template(self, stack: AssemblyStack) -> dict[str, str]:
        for asset in stack.assets:
            if asset.path == stack.template:
                bucket, key = self._resolve(asset.bucket), self._resolve(asset.key)
                return {"TemplateURL": f"https://s3.{self._region}.amazonaws.com/{bucket}/{key}"}
        return {"TemplateBody": stack.template.read_text(encoding="utf-8")}

    def _describe(self, name: str) -> dict[str, Any] | None:
        try:
            stacks = self._cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return None
            raise
        found: dict[str, Any] | None = stacks[0] if stacks else None
        return None if found is not None and found["StackStatus"] == "DELETE_COMPLETE" else found

    def _events(self, name: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self._cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        return events[::-1]

    def _wait(self, stack: AssemblyStack, started: float, seen: set[str] | None = None) -> dict[str, Any] | None:
        shown = set(seen or ())
        while True:
            described = self._describe(stack.name)
            if described is not None:
                for event in self._events(stack.name):
                    if event["EventId"] not in shown:
                        shown.add(event["EventId"])
                        self._show(stack, event)
            if described is None or not described["StackStatus"].endswith("_IN_PROGRESS"):
                return described
            if time.time() - started > _GIVE_UP_SECONDS:
                raise DeployError(
                    stack.name, [f"it was still {described['StackStatus']} after {_GIVE_UP_SECONDS:.0f} s"]
                )
            time.sleep(_POLL_SECONDS)

    def _show(self, stack: AssemblyStack, event: Mapping[str, Any]) -> None:
        status = event.get("ResourceStatus", "")
        if status.endswith(("_COMPLETE", "_FAILED")):
            logical, type_ = event.get("LogicalResourceId", ""), event.get("ResourceType", "")
            self._progress(f"{stack.label}: {status.lower().replace('_', ' ')}: {type_} {logical}")

    def _reasons(self, name: str, seen: set[str], after: Mapping[str, Any] | None) -> list[str]:
        reasons = [
            f"{event.get('LogicalResourceId')} ({event.get('ResourceType')}): {event.get('ResourceStatusReason')}"
            for event in (self._events(name) if after is not None else [])
            if event["EventId"] not in seen
            and event.get("ResourceStatus", "").endswith("_FAILED")
            and event.get("ResourceStatusReason")
        ]
        if not reasons and after is not None:
            reasons = [f"{after['StackStatus']}: {after.get('StackStatusReason', 'no reason given')}"]
        return reasons


def _silent(line: str) -> None:
    del line


def choose(folder: Path, wanted: Iterable[str]) -> list[AssemblyStack]:
    """Return stacks of an assembly, each after those it depends on.

    Args:
        folder: The assembly: ``cdk.out``.
        wanted: Names, paths or patterns of the stacks, with those they depend on; all where there is none.

    Raises:
        AssemblyError: The folder is no assembly, or has no such stack.
    """
    stacks, wanted = read_assembly(folder), tuple(wanted)
    if not wanted:
        return stacks
    chosen: set[str] = set()
    for pattern in wanted:
        found = [s for s in stacks if any(fnmatchcase(text, pattern) for text in (s.name, s.label, s.id))]
        if not found:
            names = ", ".join(sorted(stack.label for stack in stacks))
            message = f"{folder} has no stack {pattern!r}; it has {names or 'none'}"
            raise AssemblyError(message)
        chosen |= {stack.id for stack in found}
    for stack in reversed(stacks):
        if stack.id in chosen:
            chosen |= stack.depends_on
    return [stack for stack in stacks if stack.id in chosen]


def _location(region: str) -> dict[str, Any]:
    # S3 refuses the name of its first region here.
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def _contents(asset: Asset) -> bytes:
    if not asset.path.exists():
        message = f"{asset.path} is missing: run cdk synth again"
        raise AssemblyError(message)
    if not asset.zipped:
        return asset.path.read_bytes()
    if asset.path.is_file():
        # Already a zip file.
        return asset.path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(path for path in asset.path.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(asset.path).as_posix(), _EPOCH)
            entry.external_attr = (file.stat().st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()


def _outputs(stack: Mapping[str, Any] | None) -> dict[str, str]:
    outputs = stack.get("Outputs", []) if stack is not None else []
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}
