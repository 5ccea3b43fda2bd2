"""How the AWS SDK for Java, by which Step Functions makes its calls, names services, members and errors.

It is made from the same models as boto3 by rules of its own, which show in Resources, parameters, results and errors:
``DBInstances`` is ``DbInstances``, ``ARN`` is ``Arn``, and ``QueueDoesNotExist`` is ``QueueDoesNotExistException``.

https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

# Services by their name in Resources, where boto3 has another one.
BOTO_NAMES: Final = {
    "applicationdiscovery": "discovery",
    "cloudwatchlogs": "logs",
    "cognitoidentityprovider": "cognito-idp",
    "costandusagereport": "cur",
    "costexplorer": "ce",
    "databasemigration": "dms",
    "directory": "ds",
    "elasticloadbalancing": "elb",
    "elasticloadbalancingv2": "elbv2",
    "elasticsearch": "es",
    "eventbridge": "events",
    "lexmodelsv2": "lexv2-models",
    "lexruntimev2": "lexv2-runtime",
    "marketplacemetering": "meteringmarketplace",
    "migrationhub": "mgh",
    "serverlessapplicationrepository": "serverlessrepo",
    "sfn": "stepfunctions",
}
# Where a word ends, one rule after the other: at what isn't a letter or digit, before and behind a version, behind a
# lower case letter, before the last capital of several, and behind a digit.
_WORDS: Final = (
    (re.compile(r"[^A-Za-z0-9]+"), " "),
    (re.compile(r"([^a-z]{2,})v([0-9]+)"), r"\1 v\2 "),
    (re.compile(r"([^A-Z]{2,})V([0-9]+)"), r"\1 V\2 "),
    (re.compile(r"(?<=[a-z])(?=[A-Z][a-zA-Z0-9])"), " "),
    (re.compile(r"([A-Z]+)([A-Z][a-z])"), r"\1 \2"),
    (re.compile(r"([0-9])([a-zA-Z])"), r"\1 \2"),
)


@cache
def member(name: str) -> str:
    """Return a member's name: its getter's, with a capital. Only capitals at the beginning are treated as a word."""
    end = 1
    while end < len(name) and name[end].isupper() and not name[end + 1 : end + 2].islower():
        end += 1
    getter = name[:end].lower() + name[end:]
    return getter[:1].upper() + getter[1:]


@cache
def service(identity: str) -> str:
    """Return a service's name, as errors begin with it.

    Args:
        identity: Its service id, such as ``CloudWatch Logs``.
    """
    name = _pascal(identity)
    for prefix in ("Amazon", "Aws"):
        name = name.removeprefix(prefix)
    return name.removesuffix("Service")


@cache
def exception(shape: str) -> str:
    """Return the class of a modelled error."""
    return f"{_pascal(shape.removesuffix('Fault').removesuffix('Exception'))}Exception"


def _pascal(name: str) -> str:
    for rule, separated in _WORDS:
        name = rule.sub(separated, name)
    return "".join(word.lower().capitalize() for word in name.split())
