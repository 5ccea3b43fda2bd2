"""What of a policy can't be evaluated here, by name: else it would count as absent, and a deny would be ignored.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ministack.core import iam_evaluator
from ministack.core.iam_evaluator import EvalContext, evaluate, evaluate_resource_policy, parse_policy_document

from cdk_distributed_map.local.errors import UnsupportedError

# What the evaluator knows of any request.
_EVALUATED: Final = frozenset(
    {
        "aws:currenttime",
        "aws:epochtime",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principaltype",
        "aws:requestedregion",
        "aws:resourceaccount",
        "aws:securetransport",
        "aws:sourceip",
        "aws:tagkeys",
        "s3:resourceaccount",
    }
)
# What a call that Step Functions makes under a role doesn't have: nobody signed in, and it names no source of its own.
_ABSENT: Final = frozenset(
    {
        "aws:calledvia",
        "aws:calledviafirst",
        "aws:calledvialast",
        "aws:ec2instancesourceprivateipv4",
        "aws:ec2instancesourcevpc",
        "aws:federatedprovider",
        "aws:multifactorauthage",
        "aws:multifactorauthpresent",
        "aws:principalservicename",
        "aws:principalservicenameslist",
        "aws:referer",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceidentity",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:username",
        "aws:vpcsourceip",
        # Those of a function URL, of calls through another service, and of grants.
        "kms:grantisforawsresource",
        "kms:viaservice",
        "lambda:eventsourcetoken",
        "lambda:functionurlauthtype",
        "lambda:invokedviafunctionurl",
        "s3:prefix",
        "sts:externalid",
    }
)
_PREFIXES: Final = ("aws:principaltag/", "aws:requesttag/")
# Each call of KMS here has the context that its check names, if any, and S3 adds one: the ARN of the object, or of the
# bucket where that has a key of its own, which the embedded AWS doesn't keep.
_CONTEXT: Final = "kms:encryptioncontext:"
_CONTEXT_OF_S3: Final = f"{_CONTEXT}aws:s3:arn"
_OPERATORS: Final = frozenset(vars(iam_evaluator)["_CONDITION_OPS"])
_SETS: Final = ("forallvalues:", "foranyvalue:")
_VARIABLE: Final = "${"


def refuse_unknown(where: str, statements: list[dict[str, Any]], request: EvalContext, *, named: bool = False) -> None:
    """Raise if what a policy says about a request depends on what can't be evaluated.

    Args:
        where: Whose policy it is, for the message.
        statements: Its statements.
        request: The request.
        named: Whether statements name the principals that they are for, as those of resources do.

    Raises:
        UnsupportedError: It does; the message names the statement and the remedy.
    """
    applies = _applies_to_principal if named else _applies
    for at, statement in enumerate(statements):
        found = next(_unknown(statement, request, applies), None)
        if found is not None:
            name = statement.get("Sid") or f"number {at}"
            raise UnsupportedError(
                f"the local AWS can't evaluate {found} in the statement {name} of the policy of {where}, which decides "
                f"about {request.action} on {request.resource_arn}: leave it out here, or run with --iam=off"
            )


def _unknown(
    statement: Mapping[str, Any], request: EvalContext, applies: Callable[[dict[str, Any], EvalContext], bool]
) -> Iterator[str]:
    unconditional = {**{key: value for key, value in statement.items() if key != "Condition"}, "Effect": "Allow"}
    places = [name for name in ("Resource", "NotResource") if _VARIABLE in json.dumps(statement.get(name))]
    if places:
        # Where the variable stands decides whether it applies at all.
        anywhere = {key: value for key, value in unconditional.items() if key not in places}
        if applies({**anywhere, "Resource": "*"}, request):
            yield f"the policy variable in {json.dumps(statement[places[0]])}"
    if "NotPrincipal" in statement and applies({**unconditional, "Principal": "*"}, request):
        yield "NotPrincipal"
    if not statement.get("Condition") or not applies(unconditional, request):
        return
    for operator, keys in statement["Condition"].items():
        if not _is_operator(operator):
            yield f"the condition operator {operator}"
        for key, values in keys.items():
            if not _is_known(key, request):
                yield f"the condition key {key}"
            if _VARIABLE in json.dumps(values):
                yield f"the policy variable in {json.dumps(values)}"


def _applies(statement: dict[str, Any], request: EvalContext) -> bool:
    return bool(evaluate(request, [parse_policy_document({"Statement": [statement]})]).decision == "Allow")


def _applies_to_principal(statement: dict[str, Any], request: EvalContext) -> bool:
    return bool(evaluate_resource_policy({"Statement": [statement]}, request).decision == "Allow")


def _is_operator(operator: str) -> bool:
    plain = operator.lower()
    if plain == "null":
        return True
    for prefix in _SETS:
        plain = plain.removeprefix(prefix)
    return plain.removesuffix("ifexists") in _OPERATORS


def _is_known(key: str, request: EvalContext) -> bool:
    plain = key.lower()
    return (
        plain in _EVALUATED
        or plain in _ABSENT
        or plain in request.service_context
        or plain in request.principal_keys
        or plain.startswith(_PREFIXES)
        or (plain.startswith(_CONTEXT) and plain != _CONTEXT_OF_S3)
    )
