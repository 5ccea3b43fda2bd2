"""What calls of the Step Functions API may hold, and what AWS says of what they may not."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cdk_distributed_map.local.asl.json_text import Json, loads, size
from cdk_distributed_map.local.errors import ApiError
from distmap import limits

_NAME: Final = re.compile(r"[^\s?*<>{}\[\]:;,/\\|^~$#%&`\"\x00-\x1f\x7f-\x9f]+")
_MAX_PAGE: Final = 1_000
_DEFAULT_PAGE: Final = 100
_DATA: Final = frozenset({"ALL_DATA", "METADATA_ONLY"})

Parameters = Mapping[str, Any]


def _unfit(field: str, value: str | None, constraint: str) -> ApiError:
    shown = f"Value at '{field}'" if value is None else f"Value '{value}' at '{field}'"
    message = f"1 validation error detected: {shown} failed to satisfy constraint: {constraint}"
    return ApiError("ValidationException", message)


def required(parameters: Parameters, name: str) -> str:
    """Return a text that must be there.

    Raises:
        ApiError: ``ValidationException``: it isn't.
    """
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise _unfit(name, None, "Member must not be null")
    return value


def one_of(parameters: Parameters, name: str, allowed: frozenset[str]) -> str | None:
    """Return a text that is one of several, None where it isn't given.

    Raises:
        ApiError: ``ValidationException``: it is another.
    """
    value = parameters.get(name)
    if value is not None and value not in allowed:
        raise _unfit(name, str(value), f"Member must satisfy enum value set: [{', '.join(sorted(allowed))}]")
    return value


def wants_data(parameters: Parameters) -> bool:
    """Tell whether the answer is to hold inputs, outputs and definitions: ``includedData``."""
    return one_of(parameters, "includedData", _DATA) != "METADATA_ONLY"


def execution_name(name: str | None) -> str:
    """Return the name of an execution, one that is made up where none is given.

    Raises:
        ApiError: ``InvalidName``, or ``ValidationException`` where it is empty or too long.
    """
    if name is None:
        return str(uuid.uuid4())
    if not name:
        raise _unfit("name", name, "Member must have length greater than or equal to 1")
    if len(name) > limits.MAX_NAME_LENGTH:
        raise _unfit("name", name, f"Member must have length less than or equal to {limits.MAX_NAME_LENGTH}")
    if not _NAME.fullmatch(name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")
    return name


def execution_input(text: str | None) -> Json:
    """Return the input of an execution, an empty object where none is given.

    Raises:
        ApiError: ``InvalidExecutionInput``, or ``ValidationException`` where it is too large.
    """
    if text is None:
        return {}
    try:
        return _value("input", text)
    except ValueError as error:
        raise ApiError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from error


def task_output(text: str) -> Json:
    """Return what a task's token came back with.

    Raises:
        ApiError: ``InvalidOutput``, or ``ValidationException`` where it is too large.
    """
    try:
        return _value("output", text)
    except ValueError as error:
        raise ApiError("InvalidOutput", f"Invalid Output: '{error}'") from error


def _value(field: str, text: str) -> Json:
    if size(text) > limits.MAX_PAYLOAD_BYTES:
        raise _unfit(field, None, f"Member must have length less than or equal to {limits.MAX_PAYLOAD_BYTES}")
    return loads(text)


def page(items: Sequence[Any], parameters: Parameters) -> tuple[Sequence[Any], str | None]:
    """Return one page of many things, and the token of the next.

    Raises:
        ApiError: ``InvalidToken``, or ``ValidationException`` where the page is too large.
    """
    most = parameters.get("maxResults") or _DEFAULT_PAGE
    if not 0 <= most <= _MAX_PAGE:
        raise ApiError("ValidationException", f"maxResults must be between 0 and {_MAX_PAGE}")
    at = 0
    if parameters.get("nextToken"):
        try:
            at = int(base64.urlsafe_b64decode(parameters["nextToken"]))
        except ValueError as error:
            raise ApiError("InvalidToken", f"Invalid Token: '{parameters['nextToken']}'") from error
    end = at + most
    token = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[at:end], token
