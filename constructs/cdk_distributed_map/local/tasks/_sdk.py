"""AWS SDK integrations: any API call, through boto3."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationNotFoundError
from botocore.response import StreamingBody
from botocore.session import Session

from cdk_distributed_map.local._errors import StateError, UnsupportedError, runtime
from cdk_distributed_map.local._json import Json, dumps
from cdk_distributed_map.local.tasks._gaps import completed
from cdk_distributed_map.local.tasks._integration import Call, Integration, fitting, text_of
from cdk_distributed_map.local.tasks._permissions import permission

# Service ids of the AWS SDK for Java, as Resource ARNs have them, where boto3 has another name.
_BOTO_NAMES: Final = {
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sfn": "stepfunctions",
    "cognitoidentityprovider": "cognito-idp",
    "elasticloadbalancingv2": "elbv2",
    "resourcegroupstaggingapi": "resourcegroupstaggingapi",
}
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

    async def run(self, arguments: Json, call: Call) -> Json:
        """Make the call."""
        answer = await self.called(arguments, call)
        result = shown(answer)
        if self.token is not None:
            call.submitted(result)
            return await call.answered()
        return fitting(self, result)

    async def called(self, arguments: Json, call: Call) -> dict[str, Any]:
        """Make the call and return boto3's answer.

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
        parameters = _request(model.input_shape, arguments)
        prefix = str(client.meta.service_model.signing_name)
        action, resource = permission(self._boto_name, prefix, operation, parameters, services)
        # Services let other accounts in, by policies of their own; no call leaves its region.
        call.refuse_elsewhere(f"{self.service}:{self.action} of", resource, accounts=False)
        denied = call.denied(action, resource)
        if denied is not None:
            # Services that talk JSON refuse with 400, the others with 403.
            status = 400 if client.meta.service_model.protocol == "json" else 403
            cause = self._cause(denied, {"HTTPStatusCode": status, "RequestId": str(uuid.uuid4())})
            raise StateError(f"{self.error_name}.{self.error_name}Exception", cause)
        method = getattr(client, xform_name(operation))
        try:
            answer = dict(await services.blocking(lambda: _read(method(**parameters))))
        except ClientError as error:
            raise self.failed(error, model) from error
        except BotoCoreError as error:
            raise runtime(str(error)) from error
        return completed(self.service, operation, parameters, answer)

    def failed(self, error: ClientError, model: Any) -> StateError:
        """Return an error as the SDK integration names and words it."""
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", "Unknown"))
        short = code.rsplit("#", 1)[-1].rsplit(".", 1)[-1]
        modelled = {shape.name for shape in model.service_model.error_shapes} | {
            str(shape.metadata.get("error", {}).get("code", shape.name)) for shape in model.service_model.error_shapes
        }
        name = short if short.endswith("Exception") else f"{short}Exception"
        if short not in modelled and name not in modelled:
            name = f"{self.error_name}Exception"
        message = answer.get("Error", {}).get("Message", code)
        return StateError(f"{self.error_name}.{name}", self._cause(message, answer.get("ResponseMetadata", {})))

    def _cause(self, message: str, meta: Mapping[str, Any]) -> str:
        extended = f", Extended Request ID: {meta.get('HostId') or 'none'}" if self.service == "s3" else ""
        return (
            f"{message} (Service: {self.error_name}, Status Code: "
            f"{meta.get('HTTPStatusCode')}, Request ID: {meta.get('RequestId') or 'none'}{extended})"
        )


@cache
def _models() -> Session:
    return Session()


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


def _request(shape: Any, value: Json) -> Any:  # noqa: PLR0911 - one return for each kind of shape
    """Return parameters as boto3 wants them: AWS writes every name with a capital, some models don't."""
    if shape is None or value is None:
        return value if shape is not None else {}
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        if getattr(shape, "is_document_type", False):
            return value
        names = {name[:1].upper() + name[1:]: name for name in shape.members}
        built = {}
        for key, item in value.items():
            name = key if key in shape.members else names.get(key[:1].upper() + key[1:])
            if name is None:
                raise runtime(f"The field '{key}' is not supported by Step Functions")
            if item is not None:
                built[name] = _request(shape.members[name], item)
        return built
    if kind == "list" and isinstance(value, list):
        return [_request(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, Mapping):
        return {key: _request(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        return text_of(value).encode()
    if kind == "string" and not isinstance(value, str):
        return dumps(value)
    return value


def _read(answer: dict[str, Any]) -> dict[str, Any]:
    """Read streams while still in the thread that called."""
    read = {key: value.read() if isinstance(value, StreamingBody) else value for key, value in answer.items()}
    read.pop("ResponseMetadata", None)
    return read


def shown(value: Any) -> Json:
    """Return boto3's answer as Step Functions shows it."""
    if isinstance(value, Mapping):
        return {str(key)[:1].upper() + str(key)[1:]: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value


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
        return {"dynamodb": "DynamoDB", "sqs": "SQS", "sns": "SNS", "s3": "S3"}.get(self.service, super().error_name)

    async def run(self, arguments: Json, call: Call) -> Json:
        """Make the call."""
        answer = await self.called(arguments, call)
        if self.service == "eventbridge" and answer.get("FailedEntryCount"):
            raise StateError("EventBridge.FailedEntry", dumps(shown(answer)))
        result = {**shown(answer), "SdkHttpMetadata": {"HttpStatusCode": 200}}
        if self.token is not None:
            call.submitted(result)
            return await call.answered()
        return fitting(self, result)


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
