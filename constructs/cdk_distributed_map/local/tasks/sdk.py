"""AWS SDK integrations: any API call, through boto3."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar, Final

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.response import StreamingBody

from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.errors import ApiError, StateError, UnsupportedError, runtime
from cdk_distributed_map.local.execution.services import Starter
from cdk_distributed_map.local.iam.missing_objects import as_caller_sees
from cdk_distributed_map.local.tasks import java as java_module
from cdk_distributed_map.local.tasks.gaps import completed
from cdk_distributed_map.local.tasks.http import METADATA, metadata
from cdk_distributed_map.local.tasks.integration import Call, Integration, fitting, unusable
from cdk_distributed_map.local.tasks.invalid import refusal
from cdk_distributed_map.local.tasks.models import models, problem, service_model
from cdk_distributed_map.local.tasks.permissions import condition_keys, permissions
from cdk_distributed_map.local.tasks.values import UnknownFieldError, parsed, request, shown

# An answer to HEAD has no body to tell the error in: the SDK knows what is missing.
_WITHOUT_BODY: Final = {("HeadObject", "404"): "NoSuchKey", ("HeadBucket", "404"): "NoSuchBucket"}
# What services call it that a caller may not, where it isn't AccessDenied or AccessDeniedException.
_DENIALS: Final = {"ec2": "UnauthorizedOperation", "sns": "AuthorizationError"}


class SdkCall(Integration):
    """``arn:aws:states:::aws-sdk:<service>:<action>``.

    Args:
        service: Service id as in the ARN.
        action: Action, in camel case, perhaps with ``.waitForTaskToken``.
        resource_type: How history names the service. Default: ``aws-sdk:<service>``.
    """

    def __init__(self, service: str, action: str, resource_type: str | None = None) -> None:
        super().__init__(action, f"aws-sdk:{service}" if resource_type is None else resource_type)
        self.service = service
        self.action = action.removesuffix(".waitForTaskToken")
        self._boto_name = _boto_name(service)
        self._operation = self.action[:1].upper() + self.action[1:]
        if resource_type is None:
            _check_action(service, self.action, self._boto_name)

    @property
    def error_name(self) -> str:
        """How errors of the service begin."""
        return java_module.service(service_model(self._boto_name).service_id)

    @property
    def general_error(self) -> str:
        """Class of the errors that the service doesn't declare."""
        return f"{self.error_name}Exception"

    added: ClassVar[frozenset[str]] = frozenset()
    """Members of results beside those of the API."""

    def named(self, name: str) -> str:
        """Return a member's name in parameters and results."""
        return java_module.member(name)

    def check(self, arguments: Json) -> None:
        """Check the names of the arguments, those inside them too."""
        self._request(arguments)

    def _request(self, arguments: Json) -> Any:
        if not isinstance(arguments, Mapping):
            raise unusable(arguments, "The parameters must be an object")
        shape = service_model(self._boto_name).operation_model(self._operation).input_shape
        try:
            return request(shape, arguments, named=self.named)
        except UnknownFieldError as error:
            raise unusable(arguments, f'The field "{error}" is not supported by Step Functions') from error

    def refused_result(self, result: Json) -> str | None:
        """Return why the action wouldn't answer a scripted result, by its model."""
        if self.token:
            return None
        shape = service_model(self._boto_name).operation_model(self._operation).output_shape
        return problem(shape, result, named=self.named, also=self.added)

    def refused_error(self, error: str) -> str | None:
        """Return why the action wouldn't fail with a scripted error, by the errors of the service."""
        shapes = service_model(self._boto_name).error_shapes
        known = {f"{self.error_name}.{java_module.exception(str(shape.name))}" for shape in shapes}
        known |= {f"{self.error_name}.{self.general_error}", f"{self.error_name}.SdkClientException"}
        if error in known or error.startswith("States."):
            return None
        close = get_close_matches(error, known, n=3, cutoff=0.5) or sorted(known)[:3]
        return f"{self.service}:{self.action} has no error {error!r}, but {', '.join(close)}"

    async def run(self, arguments: Json, call: Call) -> Json:
        """Make the call."""
        result, _ = await self.called(arguments, call)
        if self.token:
            call.submitted(result)
            return await call.answered()
        return fitting(self, result)

    async def called(self, arguments: Json, call: Call) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """Make the call and return the answer as Step Functions shows it, and what boto3 says of the response.

        Raises:
            StateError: It failed.
        """
        services = call.frame.services
        client = services.clients.client(self._boto_name, call.role)
        model = client.meta.service_model.operation_model(self._operation)
        parameters = self._request(arguments)
        prefix = str(client.meta.service_model.signing_name)
        named = parameters
        if self._boto_name in _LOOKED_UP:
            named = await services.blocking(lambda: _looked_up(self._boto_name, client, parameters))
        context = condition_keys(self._boto_name, parameters)
        for action, resource in permissions(self._boto_name, prefix, self._operation, named, services):
            # Services let other accounts in, by policies of their own; no call leaves its region.
            call.refuse_elsewhere(f"{self.service}:{self.action} of", resource, accounts=False)
            denied = call.denied(action, resource, context)
            if denied is not None:
                raise self.failed(_denial(denied, model), model)
        method = getattr(client, xform_name(self._operation))
        starter = services.starter
        try:
            if self._boto_name == "stepfunctions" and starter is not None and starter.answers(self._operation):
                own = await _own_answer(starter, model, parameters)
                return dict(shown(model.output_shape, own, named=self.named)), {}
            answer = dict(await services.blocking(lambda: _read(method(**parameters))))
        except ClientError as error:
            known_error = error
            if self._boto_name == "s3":
                known_error = as_caller_sees(error, services, call.frame.execution.machine, parameters)
            raise self.failed(known_error, model) from error
        except ParamValidationError as error:
            refused = refusal(error, model)
            raise (runtime(str(error)) if refused is None else self.failed(refused, model)) from error
        except BotoCoreError as error:
            raise runtime(str(error)) from error
        meta = answer.pop("ResponseMetadata", {})
        whole = completed(self.service, self._operation, parameters, answer)
        return dict(shown(model.output_shape, whole, named=self.named)), meta

    def failed(self, error: ClientError, model: Any) -> StateError:
        """Return an error as the SDK integration names and words it."""
        details: Mapping[str, Any] = error.response.get("Error", {})
        code = str(details.get("Code", "Unknown")).rsplit("#", 1)[-1]
        # Services that talked XML once tell their old code, and the one of their model beside it.
        modelled = _WITHOUT_BODY.get((model.name, code), str(details.get("QueryErrorCode", code)))
        name = _exception(modelled, model) or self.general_error
        cause = self._cause(str(details.get("Message", code)), error.response.get("ResponseMetadata", {}), code)
        return StateError(f"{self.error_name}.{name}", cause)

    def _cause(self, message: str, meta: Mapping[str, Any], code: str) -> str:
        del code
        extended = f", Extended Request ID: {meta.get('HostId') or 'none'}" if self.service == "s3" else ""
        return (
            f"{message} (Service: {self.error_name}, Status Code: "
            f"{meta.get('HTTPStatusCode')}, Request ID: {meta.get('RequestId') or 'none'}{extended})"
        )


def _exception(code: str, model: Any) -> str | None:
    """Return the name of an error's class in the SDK for Java, None for an error that the service doesn't declare."""
    for shape in model.service_model.error_shapes:
        declared = {shape.name, str(shape.metadata.get("error", {}).get("code", shape.name))}
        if {code, f"{code}Exception"} & declared:
            return java_module.exception(str(shape.name))
    return None


def _denial(message: str, model: Any) -> ClientError:
    """Return a service's answer to who may not: those that talk plain JSON refuse with 400, the others with 403."""
    service = model.service_model
    usual = "AccessDeniedException" if "json" in service.protocol else "AccessDenied"
    code = _DENIALS.get(str(service.service_name), usual)
    meta = {"HTTPStatusCode": 400 if service.protocol == "json" else 403, "RequestId": str(uuid.uuid4())}
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta}
    return ClientError(response, model.name)


@cache
def _boto_name(service: str) -> str:
    """Return boto3's name of a service.

    Raises:
        UnsupportedError: There is no such service.
    """
    known = {name.replace("-", ""): name for name in models().get_available_services()}
    renamed = {name.replace("-", ""): java for java, name in java_module.BOTO_NAMES.items()}
    if service in renamed:
        raise UnsupportedError(
            f"an SDK integration has no service {service!r}: AWS's name of it is {renamed[service]!r}"
        )
    found = java_module.BOTO_NAMES.get(service, known.get(service))
    if found is None:
        raise UnsupportedError(f"the SDK has no service {service!r}: give its id in lower case, as in aws-sdk:dynamodb")
    return found


@cache
def _check_action(service: str, action: str, boto_name: str) -> None:
    operations = {name[:1].lower() + name[1:] for name in service_model(boto_name).operation_names}
    if action not in operations:
        near = get_close_matches(action, operations, n=1, cutoff=0)
        raise UnsupportedError(
            f"aws-sdk:{service} has no action {action!r}: use an API action in camel case, perhaps {near[0]!r}; "
            "an SDK integration takes .waitForTaskToken, but no .sync"
        )


async def _own_answer(starter: Starter, model: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what the engine answers to a call of Step Functions: executions are its own, not the embedded AWS's.

    Raises:
        ClientError: AWS would answer with an error.
    """
    try:
        answer = await starter.call(model.name, parameters)
    except ApiError as error:
        meta = {"HTTPStatusCode": 400, "RequestId": str(uuid.uuid4())}
        response: Any = {"Error": {"Code": error.code, "Message": error.message}, "ResponseMetadata": meta}
        raise ClientError(response, model.name) from error
    return dict(parsed(model.output_shape, answer))


# Where IAM is asked about the ARN of what a call names otherwise: the parameter, and what tells the ARN.
_LOOKED_UP: Final[dict[str, tuple[str, Callable[[Any, str], Any]]]] = {
    "kms": ("KeyId", lambda client, name: client.describe_key(KeyId=name)["KeyMetadata"]["Arn"]),
    "secretsmanager": ("SecretId", lambda client, name: client.describe_secret(SecretId=name)["ARN"]),
}


def _looked_up(service: str, client: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return parameters with ARNs in place of aliases and names that don't make up an ARN."""
    parameter, find = _LOOKED_UP[service]
    name = parameters.get(parameter)
    if not isinstance(name, str):
        return parameters
    try:
        return {**parameters, parameter: str(find(client, name))}
    except (ClientError, ParamValidationError):
        # What doesn't exist says so when it is used.
        return parameters


def _read(answer: dict[str, Any]) -> dict[str, Any]:
    """Read streams while still in the thread that called."""
    return {key: value.read() if isinstance(value, StreamingBody) else value for key, value in answer.items()}


class OptimizedCall(SdkCall):
    """An optimized integration of S3, SQS, SNS, DynamoDB or EventBridge: ``arn:aws:states:::sqs:sendMessage``.

    Args:
        service: Service as in the ARN.
        action: Action, perhaps with ``.waitForTaskToken``.
    """

    def __init__(self, service: str, action: str) -> None:
        if (service, action.removesuffix(".waitForTaskToken")) not in _OPTIMIZED:
            known = ", ".join(":".join(each) for each in sorted(_OPTIMIZED))
            raise UnsupportedError(
                f"the local engine has no integration {service}:{action}: use one of {known}, lambda:invoke, "
                f"states:startExecution, or arn:aws:states:::aws-sdk:<service>:<action>"
            )
        super().__init__({"events": "eventbridge"}.get(service, service), action, service)

    added = METADATA

    @property
    def error_name(self) -> str:
        """How errors of the service begin."""
        return _OPTIMIZED_NAMES[self.service][0]

    @property
    def general_error(self) -> str:
        """Class of the errors that the service doesn't declare."""
        return _OPTIMIZED_NAMES[self.service][1]

    def named(self, name: str) -> str:
        """Return a member's name: these integrations are older, and have it as the API does."""
        return f"{name[:1].upper()}{name[1:]}"

    def _cause(self, message: str, meta: Mapping[str, Any], code: str) -> str:
        # These integrations are older, and so is their SDK.
        return (
            f"{message} (Service: {_OPTIMIZED_NAMES[self.service][2]}; Status Code: {meta.get('HTTPStatusCode')}; "
            f"Error Code: {code}; Request ID: {meta.get('RequestId') or 'none'}; Proxy: null)"
        )

    async def run(self, arguments: Json, call: Call) -> Json:
        """Make the call."""
        answer, meta = await self.called(arguments, call)
        if self.service == "eventbridge" and answer.get("FailedEntryCount"):
            raise StateError("EventBridge.FailedEntry", dumps(answer))
        headers = meta.get("HTTPHeaders", {})
        result = {**answer, **metadata(headers, meta.get("HTTPStatusCode", 200), meta.get("RequestId", ""))}
        if self.token:
            call.submitted(result)
            return await call.answered()
        return fitting(self, result)


# How errors begin, the class of those that the service doesn't declare, and the service's name in causes.
_OPTIMIZED_NAMES: Final = {
    "dynamodb": ("DynamoDB", "AmazonDynamoDBException", "AmazonDynamoDBv2"),
    "sqs": ("SQS", "AmazonSQSException", "AmazonSQS"),
    "sns": ("SNS", "AmazonSNSException", "AmazonSNS"),
    "eventbridge": ("EventBridge", "AmazonEventBridgeException", "AmazonEventBridge"),
}
_OPTIMIZED: Final = frozenset(
    {
        ("dynamodb", "getItem"),
        ("dynamodb", "putItem"),
        ("dynamodb", "updateItem"),
        ("dynamodb", "deleteItem"),
        ("sqs", "sendMessage"),
        ("sns", "publish"),
        ("events", "putEvents"),
    }
)
