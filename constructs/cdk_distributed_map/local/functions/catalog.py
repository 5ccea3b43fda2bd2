"""Reads the functions that are deployed from the embedded AWS."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cdk_distributed_map import arns
from cdk_distributed_map.local.embedded.headers import SECRET
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.embedded.sdk import DUMMIES
from cdk_distributed_map.local.errors import UnsupportedError
from cdk_distributed_map.local.functions import nodes, pythons
from cdk_distributed_map.local.functions.config import EventSettings, FunctionConfig
from cdk_distributed_map.local.functions.function_code import CodeError, unpack
from cdk_distributed_map.local.functions.launch import Credentials
from cdk_distributed_map.local.functions.reservations import ReservationError, Reservations
from cdk_distributed_map.local.functions.results import ServiceError, not_found

_NOT_ASSUMED: Final = "The role defined for the function cannot be assumed by Lambda"
FRESH_SECONDS: Final = 0.5
"""How long what was read of a function is used without looking again."""
_DOWNLOAD_SECONDS: Final = 60
_EARLY_SECONDS: Final = 900
"""Credentials are renewed this long before they end: the longest an invocation takes."""
_REFERENCE: Final = re.compile(
    r"(?:arn:(?P<partition>[^:]+):lambda:(?P<region>[^:]+):(?P<account>\d{12}):function:|(?:\d{12}:)?function:)?"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>[A-Za-z0-9$_-]+))?"
)


class DeployedFunctions:
    """The functions of the embedded AWS: the catalog that :class:`Functions` runs from.

    Args:
        clients: Gives boto3 clients of the embedded AWS, by the name of the service, to any thread.
        cache: Folder of unpacked code.
        keys: Credentials of the account's root, for functions without a role. Default: dummies.
        secret: What lets the engine in at the port of the embedded AWS. Default: nothing.
        trusted: Says of the ARNs of a role and a function whether Lambda may assume the role for it. Default: it may.
    """

    def __init__(
        self,
        clients: Callable[[str], Any],
        *,
        cache: Path,
        keys: Keys = DUMMIES,
        secret: str | None = None,
        trusted: Callable[[str, str], bool] | None = None,
    ) -> None:
        self._client = clients
        self._keys = keys
        self._headers = {} if secret is None else {SECRET: secret}
        self._trusted = trusted
        self._cache = cache
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str | None], tuple[float, FunctionConfig]] = {}
        self._under_way: dict[tuple[str, str | None], asyncio.Future[FunctionConfig]] = {}
        self._folders: dict[str, Path] = {}
        self._sessions: dict[str, Credentials] = {}
        self._reservations = Reservations(functools.partial(self._client, "cloudformation"))

    def invalidate(self) -> None:
        """Look at everything anew: something has been deployed."""
        self._known.clear()
        self._reservations.invalidate()

    def reservations(self) -> Mapping[str, int]:
        """Return what each function reserved, by ARN, as of the last time any function was read."""
        return self._reservations.known

    async def function(self, name: str, qualifier: str | None) -> FunctionConfig:
        """Return a function as it is deployed.

        Raises:
            ServiceError: There is none of that name, or the reference to it is malformed.
        """
        key = (name, qualifier)
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        pending = self._under_way.get(key)
        if pending is None:
            # One question at a time, however many ask.
            pending = asyncio.ensure_future(asyncio.to_thread(self._read, name, qualifier))
            self._under_way[key] = pending
            pending.add_done_callback(lambda _: self._under_way.pop(key, None))
        config = await asyncio.shield(pending)
        self._known[key] = (time.monotonic(), config)
        return config

    async def credentials(self, config: FunctionConfig) -> Credentials:
        """Return credentials of a function's role.

        Raises:
            ServiceError: The role cannot be assumed: ``AccessDeniedException``.
        """
        return await asyncio.to_thread(self._assume, config)

    def _read(self, name: str, qualifier: str | None) -> FunctionConfig:
        match = _REFERENCE.fullmatch(name)
        if match is None:
            message = f"1 validation error detected: Value {name!r} at 'functionName' is not the name of a function"
            raise ServiceError("ValidationException", message, status=400)
        qualifier = qualifier or match["qualifier"]
        client = self._client("lambda")
        arguments = {"FunctionName": match["name"]} | ({"Qualifier": qualifier} if qualifier else {})
        try:
            answer = client.get_function(**arguments)
        except client.exceptions.ResourceNotFoundException as error:
            arn = f"{name}:{qualifier}" if qualifier and match["qualifier"] is None else name
            raise not_found(arn) from error
        _check_place(match, answer["Configuration"]["FunctionArn"])
        try:
            return self._config(answer, qualifier)
        except CodeError as error:
            message = f"Lambda was not able to unzip the code of {match['name']}: {error}"
            raise ServiceError("InvalidZipFileException", message, status=502) from error
        except ReservationError as error:
            raise ServiceError("InvalidParameterValueException", str(error), status=400) from error

    def _config(self, answer: Mapping[str, Any], qualifier: str | None) -> FunctionConfig:
        deployed = answer["Configuration"]
        name, runtime = deployed["FunctionName"], deployed.get("Runtime") or ""
        if deployed.get("PackageType", "Zip") != "Zip":
            message = f"the function {name} is a container image, which does not run locally: deploy it as a zip file"
            raise ServiceError("InvalidRuntimeException", message, status=502)
        try:
            if nodes.declared(runtime) is None:
                pythons.declared(runtime)
        except ValueError as error:
            message = f"the function {name} does not run locally: {error}"
            raise ServiceError("InvalidRuntimeException", message, status=502) from error
        arn = arns.parse(deployed["FunctionArn"]).unqualified()
        layers = [layer["Arn"] for layer in deployed.get("Layers") or []]
        reserved = self._reservations.of(arn)
        concurrency = answer.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        configuration = {key: value for key, value in deployed.items() if key not in {"State", "LastUpdateStatus"}}
        return FunctionConfig(
            name=name,
            arn=arn,
            handler=deployed["Handler"],
            runtime=runtime,
            code=self._code(deployed["CodeSha256"], answer["Code"]["Location"]),
            layers=self._layers(tuple(layers)) if layers else None,
            revision=_digest(configuration),
            environment=deployed.get("Environment", {}).get("Variables", {}),
            role=deployed.get("Role"),
            timeout=int(deployed.get("Timeout", 3)),
            memory_mb=int(deployed.get("MemorySize", 128)),
            reserved_concurrency=reserved if concurrency is None else int(concurrency),
            version=deployed.get("Version", "$LATEST"),
            log_group=deployed.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}",
            events=self._events(name, qualifier, deployed),
        )

    def _events(self, name: str, qualifier: str | None, deployed: Mapping[str, Any]) -> EventSettings:
        client = self._client("lambda")
        mapping: Mapping[str, Any] = {}
        # Those of a function itself are under either name.
        for named in ({"Qualifier": qualifier or "$LATEST"}, {} if qualifier in {None, "$LATEST"} else None):
            if named is not None and not mapping:
                with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                    mapping = client.get_function_event_invoke_config(FunctionName=name, **named)
        destinations = mapping.get("DestinationConfig", {})
        return EventSettings(
            retries=int(mapping.get("MaximumRetryAttempts", EventSettings.retries)),
            age=float(mapping.get("MaximumEventAgeInSeconds", EventSettings.age)),
            on_success=destinations.get("OnSuccess", {}).get("Destination"),
            on_failure=destinations.get("OnFailure", {}).get("Destination"),
            dead_letters=deployed.get("DeadLetterConfig", {}).get("TargetArn"),
        )

    def _code(self, sha: str, location: str) -> Path:
        with self._lock:
            folder = self._folders.get(sha)
            if folder is None or not folder.is_dir():
                folder = self._folders[sha] = unpack([self._download(location)], self._cache)
            return folder

    def _layers(self, arns: tuple[str, ...]) -> Path:
        # The version of a layer never changes, so its ARN stands for what is in it, as long as this AWS lives.
        key = "\n".join(arns)
        with self._lock:
            folder = self._folders.get(key)
            if folder is None or not folder.is_dir():
                client = self._client("lambda")
                found = [client.get_layer_version_by_arn(Arn=arn)["Content"]["Location"] for arn in arns]
                folder = self._folders[key] = unpack([self._download(location) for location in found], self._cache)
            return folder

    def _download(self, location: str) -> bytes:
        # Where state was kept, the address is that of the embedded AWS which had it before.
        here, there = urlsplit(self._client("lambda").meta.endpoint_url), urlsplit(location)
        url = there._replace(scheme=here.scheme, netloc=here.netloc).geturl()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(url, headers=self._headers)  # noqa: S310 - the address of the embedded AWS
        with opener.open(request, timeout=_DOWNLOAD_SECONDS) as answer:
            return bytes(answer.read())

    def _assume(self, config: FunctionConfig) -> Credentials:
        if config.role is None:
            return Credentials(**self._keys._asdict(), token="", expires=float("inf"))
        with self._lock:
            session = self._sessions.get(f"{config.role} {config.name}")
            if session is not None and session.expires - time.time() > 2 * _EARLY_SECONDS:
                return session
        self._check_trust(config.role, config.arn)
        client = self._client("sts")
        try:
            answer = client.assume_role(RoleArn=config.role, RoleSessionName=_session(config.name))["Credentials"]
        except client.exceptions.ClientError as error:
            message = f"{_NOT_ASSUMED}: {config.role}: {error}"
            raise ServiceError("AccessDeniedException", message, status=403) from error
        session = Credentials(
            access_key=answer["AccessKeyId"],
            secret_key=answer["SecretAccessKey"],
            token=answer["SessionToken"],
            expires=answer["Expiration"].timestamp(),
        )
        with self._lock:
            self._sessions[f"{config.role} {config.name}"] = session
        return session

    def _check_trust(self, role: str, arn: str) -> None:
        try:
            trusted = self._trusted is None or self._trusted(role, arn)
        except UnsupportedError as error:
            raise ServiceError("AccessDeniedException", f"{_NOT_ASSUMED}: {error}", status=403) from error
        if not trusted:
            message = f"{_NOT_ASSUMED}: {role} must exist and trust lambda.amazonaws.com"
            raise ServiceError("AccessDeniedException", message, status=403)


def _session(name: str) -> str:
    # A session's name has at least two characters, a function's one.
    return name[:64].ljust(2, "-")


def _check_place(named: re.Match[str], arn: str) -> None:
    """Check that a function is where its name says: the embedded AWS looks at the last part alone.

    Raises:
        ServiceError: It is in another region, or another account's.
    """
    place = arns.parse(arn)
    if named["region"] not in {None, place.region}:
        message = f"Functions from '{named['region']}' are not reachable in this region ('{place.region}')"
        raise ServiceError("ResourceNotFoundException", message, status=404)
    if named["account"] not in {None, place.account}:
        raise not_found(named[0])


def _digest(configuration: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(configuration, sort_keys=True, default=str).encode()).hexdigest()[:16]
