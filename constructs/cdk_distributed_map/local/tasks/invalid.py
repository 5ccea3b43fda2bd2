"""What services answer to parameters that boto3 would not even send: an error that a Catch sees."""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from botocore.exceptions import ClientError, ParamValidationError

_MISSING: Final = re.compile(r'Missing required parameter in (?P<where>[^:]+): "(?P<name>[^"]+)"')
_BOUND: Final = re.compile(
    r"Invalid (?P<what>length|range) for parameter (?P<name>[^,]+), value: (?P<value>[^,]+), "
    r"valid min \w+: (?P<least>.+)"
)


def refusal(error: ParamValidationError, model: Any) -> ClientError | None:
    """Return a service's answer to parameters that are missing or out of bounds.

    Args:
        error: What boto3 says of them.
        model: boto3's model of the API action.

    Returns:
        None where a value has the wrong type, which Step Functions itself refuses.
    """
    constraints, missing = [], []
    for line in str(error.kwargs.get("report", "")).splitlines():
        absent, bound = _MISSING.match(line), _BOUND.match(line)
        if absent is not None:
            where = "" if absent["where"] == "input" else f"{absent['where']}."
            missing.append(f"{where}{absent['name']}")
            constraints.append(_constraint("null", missing[-1], "not be null"))
        elif bound is not None:
            # Of a length, boto3 tells the length and not the value, which is empty in all but a few cases.
            what, value = ("length", "") if bound["what"] == "length" else ("value", bound["value"])
            must = f"have {what} greater than or equal to {bound['least']}"
            constraints.append(_constraint(f"'{value}'", bound["name"], must))
        else:
            return None
    code, message = _worded(str(model.service_model.service_name), constraints, missing)
    details: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 400, "RequestId": str(uuid.uuid4())},
    }
    return ClientError(details, model.name)


def _constraint(value: str, name: str, must: str) -> str:
    path = ".".join(part[:1].lower() + part[1:] for part in name.split("."))
    return f"Value {value} at '{path}' failed to satisfy constraint: Member must {must}"


def _worded(service: str, constraints: list[str], missing: list[str]) -> tuple[str, str]:
    if service == "sqs" and missing:
        return "MissingParameter", f"The request must contain the parameter {missing[0]}."
    if service == "sns" and missing:
        return "InvalidParameter", f"Invalid parameter: {missing[0]}"
    errors = f"{len(constraints)} validation error{'s' if len(constraints) > 1 else ''} detected"
    return "ValidationException", f"{errors}: {'; '.join(constraints)}"
