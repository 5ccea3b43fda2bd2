"""AWS SDK integrations: any API call, through boto3."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.model import OperationNotFoundError
from botocore.response import StreamingBody
from botocore.session import Session

from cdk_distributed_map.endpoints import bare_session
from cdk_distributed_map.local._errors import ApiError, StateError, UnsupportedError, runtime
from cdk_distributed_map.local._json import Json, dumps
from cdk_distributed_map.local._missing import as_told
from cdk_distributed_map.local._services import Starter
from cdk_distributed_map.local.tasks._gaps import completed
from cdk_distributed_map.local.tasks._http import metadata
from cdk_distributed_map.local.tasks._integration import Call, Integration, fitting
from cdk_distributed_map.local.tasks._invalid import refusal
from cdk_distributed_map.local.tasks._permissions import condition_keys, permission
from cdk_distributed_map.local.tasks._values import parsed, request, shown

# Service ids of the AWS SDK for Java, as Resource ARNs have them, where boto3 has another name.
_BOTO_NAMES: Final = {
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sfn": "stepfunctions",
    "cognitoidentityprovider": "cognito-idp",
    "elasticloadbalancingv2": "elbv2",
    "resourcegroupstaggingapi": "resourcegroupstaggingapi",
}
# An answer to HEAD has no body to tell the error in: the SDK knows what is missing.
_WITHOUT_BODY: Final = {("HeadObject", "404"): "NoSuchKey", ("HeadBucket", "404"): "NoSuchBucket"}
# How errors of a service begin: the class names of the AWS SDK for Java.
_ERROR_NAMES: Final = {
    "dynamodb": "DynamoDb",
    "eventbridge": "EventBridge",
    "cloudwatchlogs": "CloudWatchLogs",
    "cloudwatch": "CloudWatch",
    "secretsmanager": "SecretsManager",
}


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
        if resource_type is None:
            _check_action(service, self.action, self._boto_name)

    @property
    def error_name(self) -> str:
        """How errors of the service begin."""
        return _ERROR_NAMES.get(self.service, self.service[:1].upper() + self.service[1:])

    @property
    def general_error(self) -> str:
        """Class of the errors that the service doesn't declare."""
        return f"{self.error_name}Exception"

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
        if not isinstance(arguments, Mapping):
            raise runtime(f"The parameters of {self.resource_type}:{self.action} must be an object: {dumps(arguments)}")
        services = call.frame.services
        client = services.clients.client(self._boto_name, call.role)
        operation = self.action[:1].upper() + self.action[1:]
        try:
            model = client.meta.service_model.operation_model(operation)
        except OperationNotFoundError as error:
            raise StateError(
                "States.Runtime", f"{self.service} has no action {self.action}", terminal=True, in_state=True
            ) from error
        parameters = request(model.input_shape, arguments)
        prefix = str(client.meta.service_model.signing_name)
        action, resource = permission(self._boto_name, prefix, operation, parameters, services)
        # Services let other accounts in, by policies of their own; no call leaves its region.
        call.refuse_elsewhere(f"{self.service}:{self.action} of", resource, accounts=False)
        denied = call.denied(action, resource, condition_keys(self._boto_name, parameters))
        if denied is not None:
            # Services that talk JSON refuse with 400, the others with 403.
            status = 400 if client.meta.service_model.protocol == "json" else 403
            meta = {"HTTPStatusCode": status, "RequestId": str(uuid.uuid4())}
            cause = self._cause(denied, meta, "AccessDeniedException")
            raise StateError(f"{self.error_name}.{self.general_error}", cause)
        method = getattr(client, xform_name(operation))
        starter = services.starter
        try:
            if self._boto_name == "stepfunctions" and starter is not None and starter.answers(operation):
                return dict(shown(model.output_shape, await _own_answer(starter, model, parameters))), {}
            answer = dict(await services.blocking(lambda: _read(method(**parameters))))
        except ClientError as error:
            told = error
            if self._boto_name == "s3":
                told = as_told(error, services, call.frame.execution.machine, parameters)
            raise self.failed(told, model) from error
        except ParamValidationError as error:
            refused = refusal(error, model)
            raise (runtime(str(error)) if refused is None else self.failed(refused, model)) from error
        except BotoCoreError as error:
            raise runtime(str(error)) from error
        meta = answer.pop("ResponseMetadata", {})
        return dict(shown(model.output_shape, completed(self.service, operation, parameters, answer))), meta

    def failed(self, error: ClientError, model: Any) -> StateError:
        """Return an error as the SDK integration names and words it."""
        told: Mapping[str, Any] = error.response.get("Error", {})
        code = str(told.get("Code", "Unknown")).rsplit("#", 1)[-1]
        # Services that talked XML once tell their old code, and the one of their model beside it.
        modelled = _WITHOUT_BODY.get((model.name, code), str(told.get("QueryErrorCode", code)))
        name = _exception(modelled, model) or self.general_error
        cause = self._cause(str(told.get("Message", code)), error.response.get("ResponseMetadata", {}), code)
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
            return f"{str(shape.name).removesuffix('Fault').removesuffix('Exception')}Exception"
    return None


@cache
def _models() -> Session:
    return bare_session()


@cache
def _boto_name(service: str) -> str:
    """Return boto3's name of a service.

    Raises:
        UnsupportedError: There is no such service.
    """
    known = {name.replace("-", ""): name for name in _models().get_available_services()}
    found = _BOTO_NAMES.get(service, known.get(service))
    if found is None:
        raise UnsupportedError(f"the SDK has no service {service!r}: give its id in lower case, as in aws-sdk:dynamodb")
    return found


@cache
def _check_action(service: str, action: str, boto_name: str) -> None:
    operations = {name[:1].lower() + name[1:] for name in _models().get_service_model(boto_name).operation_names}
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
        told: Any = {"Error": {"Code": error.code, "Message": error.message}, "ResponseMetadata": meta}
        raise ClientError(told, model.name) from error
    return dict(parsed(model.output_shape, answer))


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

    @property
    def error_name(self) -> str:
        """How errors of the service begin."""
        return _OPTIMIZED_NAMES[self.service][0]

    @property
    def general_error(self) -> str:
        """Class of the errors that the service doesn't declare."""
        return _OPTIMIZED_NAMES[self.service][1]

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
