"""What state machines may do under their roles: the deployed policies, evaluated by the embedded AWS's evaluator."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from botocore.exceptions import ClientError
from ministack.core.iam_evaluator import (
    EvalContext,
    ParsedStatement,
    combine_resource_policy,
    evaluate,
    evaluate_resource_policy,
    parse_policy_document,
)

from cdk_distributed_map.local.execution.services import NOT_ASSUMED, ConditionKeys
from cdk_distributed_map.local.iam.conditions import refuse_unknown
from cdk_distributed_map.local.iam.resource_policies import REQUIRED, ResourcePolicies, service_of

SOURCE_ARN: Final = "aws:SourceArn"
"""Key of a check's context with the state machine that its role is assumed for."""
_FRESH_SECONDS: Final = 1.0
_MOST_DECISIONS: Final = 10_000
_SERVICE: Final = "states.amazonaws.com"
_SESSION: Final = "distmap-local"

_REMEDIES: Final = {
    "lambda:InvokeFunction": "as an AWS::Lambda::Permission does",
    "sqs:SendMessage": "as an AWS::SQS::QueuePolicy does",
    "sns:Publish": "as an AWS::SNS::TopicPolicy does",
}

Policies = list[list[ParsedStatement]]


class RolePolicies:
    """An authorizer that decides as IAM does, by what is deployed.

    That is a role's trust, policies and boundary, and the policies of the buckets, keys, functions, queues and topics
    that it uses.

    Args:
        client: Gives the client of a service of the embedded AWS.
        region: Region that ``aws:RequestedRegion`` tells.
        account: Account of roles and state machines.
    """

    def __init__(self, client: Callable[[str], Any], *, region: str, account: str) -> None:
        self._client = client
        self._region = region
        self._account = account
        self._resources = ResourcePolicies(client)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, _Role | None]] = {}

    def invalidate(self) -> None:
        """Read policies anew when they are asked for next."""
        self._resources.invalidate()
        with self._lock:
            self._known.clear()

    def check(
        self, role: str, action: str, resource: str, context: ConditionKeys, *, service: str = _SERVICE
    ) -> str | None:
        """Return None where the role may, else the message of AWS's AccessDenied.

        Args:
            role: ARN of the role.
            action: IAM action.
            resource: ARN of what it is done to.
            context: Condition keys of the request. ``aws:SourceArn`` is for the role's trust alone: it tells for which
                state machine, rule or function it is assumed, and isn't part of what it asks for then.
            service: Principal of the service that assumes the role.

        Raises:
            UnsupportedError: A policy says something about it that can't be evaluated.
        """
        found = self._role(role)
        if found is None:
            return _not_assumed(service, role)
        if service != _SERVICE and not found.trusts(service, str(context[SOURCE_ARN])):
            return _not_assumed(service, role)
        policy = self._resources.policy(resource)
        return found.decided(action, resource, context, policy, assumed=service != _SERVICE)

    def refuses_service(self, service: str, action: str, resource: str, context: ConditionKeys) -> str | None:
        """Return None where a service may without any role, else what is missing of the resource's policy.

        Args:
            service: Its principal.
            action: IAM action.
            resource: ARN of what it is done to.
            context: Condition keys of the request, with the ``aws:SourceArn`` that the service acts for.

        Raises:
            UnsupportedError: The policy says something about it that can't be evaluated.
        """
        policy = self._resources.policy(resource)
        keys: dict[str, Any] = {name.lower(): value for name, value in context.items()}
        request = EvalContext(
            principal_arn="",
            principal_type="AWSService",
            principal_account="",
            action=action,
            resource_arn=resource,
            region=self._region,
            secure_transport=True,
            # Who owns a topic is told of accounts alone.
            service_context={"aws:sourceaccount": self._account, "aws:sourceowner": None, **keys},
            principal_keys={"aws:principalisawsservice": "true", "aws:principalservicename": service},
        )
        if policy is not None:
            statements = _statements(_document(policy))
            about = [
                statement
                for statement in statements
                if _is_for(statement, service) or '"*"' in json.dumps(statement.get("Principal"))
            ]
            refuse_unknown(resource, [{"Resource": "*", **each} for each in about], request)
            decision = evaluate_resource_policy(policy, request, service=service).decision
            if decision == "Allow":
                return None
            if decision == "Deny":
                return f"the policy of {resource} denies {action} to {service} for {context[SOURCE_ARN]}"
        return (
            f"the policy of {resource} does not allow {action} to {service} for {context[SOURCE_ARN]}: grant it, "
            f"{_REMEDIES.get(action, 'in that policy')}"
        )

    def trusts(self, role: str, service: str, source: str) -> bool:
        """Say whether a role may be assumed.

        Args:
            role: ARN of the role.
            service: Principal of the service that assumes it.
            source: ARN of what it is assumed for.

        Raises:
            UnsupportedError: Its trust says something that can't be evaluated.
        """
        found = self._role(role)
        return found is not None and found.trusts(service, source)

    def _role(self, role: str) -> _Role | None:
        now = time.monotonic()
        with self._lock:
            at, found = self._known.get(role, (float("-inf"), None))
        if now - at > _FRESH_SECONDS:
            found = self._read(role, unchanged=found)
            with self._lock:
                self._known[role] = (now, found)
        return found

    def _read(self, role: str, *, unchanged: _Role | None) -> _Role | None:
        iam = self._client("iam")
        name = role.rsplit("/", 1)[-1]
        try:
            described = iam.get_role(RoleName=name)["Role"]
            texts = [
                iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for page in iam.get_paginator("list_role_policies").paginate(RoleName=name)
                for policy in page["PolicyNames"]
            ]
            texts += [
                self._managed(iam, policy["PolicyArn"])
                for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
                for policy in page["AttachedPolicies"]
            ]
            boundary = described.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
            limit = None if boundary is None else self._managed(iam, boundary)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return None
            raise
        documents = _Documents(
            _document(described["AssumeRolePolicyDocument"]),
            [_document(text) for text in texts],
            limit,
            {f"aws:principaltag/{tag['Key']}".lower(): tag["Value"] for tag in described.get("Tags", [])},
        )
        if unchanged is not None and unchanged.documents == documents:
            return unchanged
        return _Role(documents, arn=described["Arn"], region=self._region, account=self._account)

    @staticmethod
    def _managed(iam: Any, arn: str) -> dict[str, Any]:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        return _document(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])


class _Documents(NamedTuple):
    """A role as it was read."""

    trust: dict[str, Any]
    policies: list[dict[str, Any]]
    boundary: dict[str, Any] | None
    tags: dict[str, str]
    """By condition key."""


class _Role:
    """A role, and what was decided by it."""

    def __init__(
        self,
        documents: _Documents,
        *,
        arn: str,
        region: str,
        account: str,
    ) -> None:
        self.documents = documents
        self._trust, policies, boundary, self._tags = documents
        self._arn = arn
        self._policies: Policies = [parse_policy_document(policy) for policy in policies]
        self._limits: list[Policies] = [] if boundary is None else [[parse_policy_document(boundary)]]
        self._statements = [
            statement for document in (*policies, boundary or {}) for statement in _statements(document)
        ]
        self._principal = f"arn:aws:sts::{account}:assumed-role/{arn.rsplit('/', 1)[-1]}/{_SESSION}"
        self._region = region
        self._account = account
        self._decisions: dict[tuple[Any, ...], str | None] = {}

    def decided(
        self, action: str, resource: str, context: ConditionKeys, policy: str | None, *, assumed: bool = False
    ) -> str | None:
        key = (action, resource, tuple(sorted(context.items())), policy, assumed)
        if key not in self._decisions:
            if len(self._decisions) >= _MOST_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = self._decide(action, resource, context, policy, assumed=assumed)
        return self._decisions[key]

    def _decide(
        self, action: str, resource: str, context: ConditionKeys, policy: str | None, *, assumed: bool
    ) -> str | None:
        source = context.get(SOURCE_ARN)
        if not assumed and not self.trusts(_SERVICE, source if isinstance(source, str) else None):
            return NOT_ASSUMED
        asked: dict[str, Any] = {
            name.lower(): list(value) if isinstance(value, tuple) else value
            for name, value in context.items()
            if name != SOURCE_ARN
        }
        # The policy that every topic begins with asks for its owner's account so: here all callers are of one account.
        asked["aws:sourceowner"] = self._account
        if service_of(resource) == "kms":
            asked["kms:calleraccount"] = self._account
        request = self._context(action, resource, asked)
        refuse_unknown(self._arn, self._statements, request)
        if policy is not None:
            refuse_unknown(resource, _statements(_document(policy)), request, named=True)
        identity = evaluate(request, self._policies, *self._limits)
        required = service_of(resource) in REQUIRED
        limits = tuple(self._limits)
        found = combine_resource_policy(identity, request, policy, self._account, required, limits).decision
        if found == "Allow":
            return None
        by_identity = identity.decision == "Deny" or (identity.decision != "Allow" and found != "Deny")
        return self._refusal(found, action, resource, "identity" if by_identity else "resource")

    def trusts(self, service: str, source: str | None) -> bool:
        """Say whether a service may assume it, None for a source that it doesn't tell."""
        keys = {} if source is None else {SOURCE_ARN.lower(): source}
        assuming = self._context("sts:AssumeRole", "*", {**keys, "aws:sourceaccount": self._account})
        # A trust names no resource.
        about = [
            {"Resource": "*", **statement} for statement in _statements(self._trust) if _is_for(statement, service)
        ]
        refuse_unknown(f"the trust of {self._arn}", about, assuming)
        return bool(evaluate(assuming, [parse_policy_document({"Statement": about})]).decision == "Allow")

    def _refusal(self, decision: str, action: str, resource: str, kind: str) -> str:
        # S3 puts the resource in quotes, the other services don't.
        shown = f'"{resource}"' if action.startswith("s3:") else resource
        # Two services write their actions in a way of their own.
        if action.startswith("sns:"):
            action = f"SNS:{action[4:]}"
        elif action.startswith("sqs:"):
            action = action.lower()
        if decision == "Deny":
            reason = f"with an explicit deny in {'an identity' if kind == 'identity' else 'a resource'}-based policy"
        else:
            reason = f"because no {kind}-based policy allows the {action} action"
        return f"User: {self._principal} is not authorized to perform: {action} on resource: {shown} {reason}"

    def _context(self, action: str, resource: str, keys: dict[str, Any]) -> EvalContext:
        return EvalContext(
            principal_arn=self._principal,
            principal_type="AssumedRole",
            principal_account=self._account,
            action=action,
            resource_arn=resource,
            region=self._region,
            # Every request of AWS comes over TLS.
            secure_transport=True,
            service_context=keys,
            # The caller is the role, not a service; tags are the role's.
            principal_keys={"aws:principalisawsservice": "false", "aws:viaawsservice": "false", **self._tags},
        )


def _not_assumed(service: str, role: str) -> str:
    if service == _SERVICE:
        return NOT_ASSUMED
    return f"the role {role} is not there, or its trust does not let {service} assume it"


def _document(found: Any) -> dict[str, Any]:
    """Return a policy: boto3 gives it parsed or, where AWS's encoding is not what it expects, as text."""
    document: dict[str, Any] = json.loads(unquote(found)) if isinstance(found, str) else found
    return document


def _statements(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = document.get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def _is_for(statement: Mapping[str, Any], service: str) -> bool:
    principal = statement.get("Principal", {})
    if principal == "*":
        return True
    services = principal.get("Service", []) if isinstance(principal, Mapping) else []
    named = [services] if isinstance(services, str) else services
    prefix = f"{service.partition('.')[0]}."
    # A service may be named with a region in between.
    return any(each == service or (each.startswith(prefix) and each.endswith(".amazonaws.com")) for each in named)
