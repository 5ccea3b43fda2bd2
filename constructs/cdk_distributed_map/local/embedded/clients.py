"""Clients for the embedded AWS, and its Lambda."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local.embedded import sdk
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.execution.services import Answer, Clients, Invocation, InvokeError

_POOL = 64


class EndpointClients(Clients):
    """boto3 clients of one endpoint.

    .. versionadded:: 0.1.0

    Args:
        endpoint_url: Its address; nothing is sent anywhere else.
        region: Region.
        keys: Credentials. Default: dummies.
        sent: Called with each of their requests before it is sent. Default: nothing is.
    """

    def __init__(
        self,
        endpoint_url: str,
        *,
        region: str,
        keys: Keys = sdk.DUMMIES,
        sent: sdk.Sent | None = None,
    ) -> None:
        self._endpoint_url = endpoint_url
        self._client = sdk.clients(
            endpoint_url,
            region=region,
            keys=keys,
            sent=sent,
            pool=_POOL,
            # The SDK that Step Functions uses asks for no checksum unless told to.
            response_checksum_validation="when_required",
            read_timeout=1_000,
        )

    def __repr__(self) -> str:
        return f"EndpointClients({self._endpoint_url!r})"

    def client(self, service: str, role: str = "") -> Any:
        """Return a client; roles are the authorizer's business here."""
        del role
        return self._client(service)


class EndpointInvoker:
    """Runs functions by the Lambda API of an endpoint.

    .. versionadded:: 0.1.0

    Args:
        clients: Its clients.
        concurrency: Most invocations at once; more wait for their turn.
    """

    def __init__(self, clients: Clients, *, concurrency: int = _POOL) -> None:
        self._clients = clients
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="invoke")

    def __repr__(self) -> str:
        return f"EndpointInvoker({self._clients!r})"

    async def invoke(self, invocation: Invocation) -> Answer:
        """Call a function.

        Raises:
            InvokeError: Lambda refused the call.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._invoke, invocation)

    def _invoke(self, invocation: Invocation) -> Answer:
        client = self._clients.client("lambda", invocation.role)
        parameters: dict[str, Any] = {
            "FunctionName": invocation.function,
            "Payload": invocation.payload.encode(),
            "InvocationType": "RequestResponse" if invocation.wait else "Event",
            "LogType": "Tail" if invocation.tail else "None",
        }
        if invocation.qualifier is not None:
            parameters["Qualifier"] = invocation.qualifier
        try:
            answer = client.invoke(**parameters)
            payload = answer["Payload"].read().decode()
        except ClientError as error:
            meta = error.response.get("ResponseMetadata", {})
            raise InvokeError(
                error.response["Error"]["Code"],
                error.response["Error"].get("Message", ""),
                status=meta.get("HTTPStatusCode", 500),
                request_id=meta.get("RequestId", ""),
            ) from error
        except BotoCoreError as error:
            raise InvokeError("SdkClientException", str(error)) from error
        return Answer(
            payload=payload or json.dumps(None),
            function_error=answer.get("FunctionError"),
            version=answer.get("ExecutedVersion", "$LATEST" if invocation.wait else None),
            request_id=answer["ResponseMetadata"].get("RequestId", ""),
            status=answer["StatusCode"],
            log=answer.get("LogResult"),
        )

    def close(self) -> None:
        """Start no more invocations."""
        self._threads.shutdown(wait=False, cancel_futures=True)
