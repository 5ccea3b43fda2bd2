"""AWS clients made on first use, and their errors with messages that say what to do.

boto3 takes longer to import than everything else here, so nothing imports it before a call is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cdk_distributed_map import endpoints
from cdk_distributed_map.runs.errors import (
    AwsError,
    ConnectionLostError,
    CredentialsError,
    InputError,
    RunsError,
    ThrottledError,
)

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

# Those that botocore repeats as throttling.
_THROTTLED: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_EXPIRED: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "RequestExpired",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "403", "Forbidden"})
_UNREACHED: Final = frozenset({"500", "502", "503", "504", "InternalError", "InternalFailure", "ServiceUnavailable"})
_AMAZON_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_SERVER_ERROR: Final = 500
_NOT_WELL: Final = 300
_ATTEMPTS: Final = 10
_LONGEST_CALL: Final = 15 * 60 + 10
"""Seconds that an invocation of a Lambda function may take, and a few."""
_ATTEMPTS_BEFORE_A_WORD: Final = 3
"""Attempts of one call that may fail before something is said: they take about two seconds."""
_CLOCK_WORDS: Final = ("expired", "not yet current", "Skewed")
_SIGNATURE: Final = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"})


class Aws:
    """The account, Region and endpoint that a client works with, as every AWS tool finds them.

    Args:
        profile: Profile of the AWS configuration. Default: that of the environment, or the default one.
        region: Region. Default: that of the environment (``AWS_REGION``, ``AWS_DEFAULT_REGION``) or of the profile.
        endpoint_url: One endpoint for all services, such as a local engine. Default: that of the environment or the
            profile (``AWS_ENDPOINT_URL``), or AWS's own. That of a ``LocalAws`` of this process brings its Region and
            its keys with it.

    Attributes:
        notice: Called with a message about what keeps people waiting: repeated calls, long files. Default: there are no
            messages.
    """

    def __init__(
        self, *, profile: str | None = None, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        self.notice: Callable[[str], None] | None = None
        self.profile = profile
        self.region = region
        self.endpoint_url = endpoint_url
        self._clients: dict[tuple[str, int], Any] = {}
        self._session: Session | None = None

    def sfn(self, *, paced: bool = False) -> SFNClient:
        """Return the client of Step Functions.

        Args:
            paced: Whether the caller paces and repeats its calls itself. Default: throttled and failing calls are
                repeated up to ten times with growing, random delays.
        """
        client: SFNClient = self._client("stepfunctions", attempts=1 if paced else _ATTEMPTS)
        return client

    def s3(self) -> S3Client:
        """Return the client of S3."""
        client: S3Client = self._client("s3")
        return client

    def cloudformation(self) -> CloudFormationClient:
        """Return the client of CloudFormation."""
        client: CloudFormationClient = self._client("cloudformation")
        return client

    def logs(self) -> CloudWatchLogsClient:
        """Return the client of CloudWatch Logs."""
        client: CloudWatchLogsClient = self._client("logs")
        return client

    def functions(self, *, long: bool = False) -> LambdaClient:
        """Return the client of Lambda.

        Args:
            long: Whether it waits for as long as a function may take, and calls it once. Default: what it tells is nice
                to know, and nobody waits long for it.
        """
        client: LambdaClient = self._client("lambda", attempts=1 if long else 2)
        return client

    def service_quotas(self) -> Any:
        """Return the client of Service Quotas."""
        return self._client("service-quotas", attempts=2)

    @property
    def is_amazon(self) -> bool:
        """Whether Step Functions is called at AWS itself, and not at an endpoint such as a local engine's."""
        host = urlsplit(self.sfn().meta.endpoint_url).hostname or ""
        return host.endswith(_AMAZON_HOSTS)

    @property
    def is_local(self) -> bool:
        """Whether Step Functions is called on this machine, where nobody else waits and nothing is throttled."""
        return _is_loopback(self.sfn().meta.endpoint_url)

    def renew(self) -> None:
        """Forget the session and its clients, so that the next one reads the credentials anew."""
        self.close()
        self._clients.clear()
        self._session = None

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def _client(self, service: str, *, attempts: int = _ATTEMPTS) -> Any:
        key = (service, attempts)
        if key not in self._clients:
            self._clients[key] = self._make(service, attempts=attempts)
        return self._clients[key]

    def _make(self, service: str, *, attempts: int) -> Any:
        options: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": attempts},
            "connect_timeout": 10,
            "read_timeout": _LONGEST_CALL if (service, attempts) == ("lambda", 1) else 60,
            "user_agent_extra": "distmap",
        }
        if service == "s3":
            options["max_pool_connections"] = 32
            if self.endpoint_url is not None or os.environ.get("AWS_ENDPOINT_URL"):
                # A local endpoint has no name for every bucket.
                options["s3"] = {"addressing_style": "path"}
        if endpoints.known(self.endpoint_url) is not None:
            options["ignore_configured_endpoint_urls"] = True
        with errors(f"making a client of {service}"):
            session = self._one_session()
            try:
                local = self._expects_loopback()
                client = self._connected(session, service, options, local=local)
                if _is_loopback(client.meta.endpoint_url) != local:
                    client.close()
                    client = self._connected(session, service, options, local=not local)
            except ValueError as error:  # botocore's for an endpoint that is no URL, given here or in the environment
                raise InputError(
                    f"{_lowered(error)}: an endpoint is a URL such as http://127.0.0.1:4566; look at --endpoint-url "
                    "and AWS_ENDPOINT_URL"
                ) from error
            client.meta.events.register_first("needs-retry", self._repeated)
            client.meta.events.register("before-parse", _check_body)
            client.meta.events.register("after-call", _check_answer)
            return client

    def _expects_loopback(self) -> bool:
        """Guess from what is given whether calls stay on this machine: only a client knows, and takes time to make."""
        configured = [value for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL")]
        return all(map(_is_loopback, [self.endpoint_url] if self.endpoint_url else configured or [""]))

    def _connected(self, session: Session, service: str, options: dict[str, Any], *, local: bool) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - see the module docstring

        # No proxy has to see what this machine says to itself.
        config = Config(**options, proxies={} if local else None)
        return session.client(service, endpoint_url=self.endpoint_url, config=config)

    def _one_session(self) -> Session:
        """Return the session of all clients: what gives credentials, a program perhaps, is asked once."""
        import boto3  # noqa: PLC0415 - see the module docstring

        if self._session is None:
            local = endpoints.known(self.endpoint_url)
            if local is None:
                # boto3 itself reads AWS_DEFAULT_REGION alone.
                region = self.region or os.environ.get("AWS_REGION") or None
                self._session = boto3.Session(profile_name=self.profile, region_name=region)
            else:
                # Neither a profile nor a key of another account has to do with it.
                self._session = boto3.Session(
                    botocore_session=endpoints.unconfigured_session(),
                    region_name=self.region or local.region,
                    aws_access_key_id=local.access_key,
                    aws_secret_access_key=local.secret_key,
                )
        return self._session

    def _repeated(self, *, attempts: int, operation: Any, response: Any, caught_exception: Any, **_: Any) -> None:
        """Say that a call is being repeated; botocore decides whether it is."""
        if self.notice is None or attempts != _ATTEMPTS_BEFORE_A_WORD:
            return
        status = 0 if response is None else response[0].status_code
        code = "" if response is None else str(response[1].get("Error", {}).get("Code", ""))
        if caught_exception is not None:
            self.notice(f"{operation.name}: {_lowered(caught_exception)}; trying again")
        elif code in _THROTTLED:
            self.notice(f"{operation.name}: AWS throttles the call ({code}); trying again")
        elif status >= _SERVER_ERROR:
            self.notice(f"{operation.name}: AWS failed to answer ({code or status}); trying again")


def _check_body(*, operation_model: Any, response_dict: Any, **_: Any) -> None:
    """Refuse what says that it went well and is no answer of AWS's, before botocore stumbles over it.

    That is the page of a proxy or of a sign-in. What an object of S3 holds is anybody's.
    """
    if response_dict["status_code"] >= _NOT_WELL or operation_model.has_streaming_output:
        return
    body = response_dict["body"] or b""
    start = body.lstrip()[:9].lower()
    is_json = "json" in operation_model.service_model.metadata["protocol"]
    is_page = start.startswith((b"<html", b"<!doctype"))
    if is_page or (start and not start.startswith(b"{" if is_json else b"<")) or not _is_utf8(body):
        raise _not_of_aws(operation_model.name)


def _check_answer(*, http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
    """Refuse an answer that went well and lacks what such an answer always has."""
    if http_response.status_code >= _NOT_WELL or model.output_shape is None or model.has_streaming_output:
        return
    if any(parsed.get(name) is None for name in model.output_shape.required_members):
        raise _not_of_aws(model.name)


def _not_of_aws(call: str) -> ConnectionLostError:
    return ConnectionLostError(
        f"{call}: the answer is none of AWS's: is there a proxy or a page to sign in between, or is the endpoint of "
        "somebody else?"
    )


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def errors(doing: str) -> Iterator[None]:
    """Turn what boto3 raises in the block into an :class:`AwsError` that says what to do.

    Args:
        doing: What the block does, for the message: ``"describing the run 'x'"``.
    """
    try:
        yield
    except RunsError:
        raise
    except Exception as error:
        translated = translate(error, doing)
        if translated is None:
            raise
        raise translated from error


def error_code(error: Exception) -> str:
    """Return the error code of an answer of AWS, empty where the error is none."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_gone(error: Exception) -> bool:
    """Tell whether AWS doesn't know an execution or a Map Run."""
    return error_code(error) in {"ExecutionDoesNotExist", "ResourceNotFound"}


def is_denied(error: AwsError) -> bool:
    """Tell whether AWS refused a call for want of permission."""
    return error.code in _DENIED


def translate(error: Exception, doing: str) -> AwsError | None:
    """Return an error of the client for one of boto3; None where it is not one of boto3."""
    return _of_answer(error, doing) if error_code(error) else _without_answer(error, doing)


def _of_answer(error: Exception, doing: str) -> AwsError:
    """Return an error that AWS answered."""
    code = error_code(error)
    if code in _THROTTLED:
        text = (
            f"{doing}: AWS throttled the call ({code}) and went on after {_ATTEMPTS} attempts: wait a minute, and look "
            "for another tool that polls the same account"
        )
        return ThrottledError(text, code=code)
    if code in _EXPIRED:
        text = f"{doing}: the credentials are not valid ({code}): renew them (aws sso login)"
        return CredentialsError(text, code=code)
    if code in _SIGNATURE and any(word in _message(error) for word in _CLOCK_WORDS):
        text = f"{doing}: {code}: {_message(error)}; this machine's clock is off: set it by the network's time"
        return AwsError(text, code=code)
    if code in _UNREACHED:
        return ConnectionLostError(f"{doing}: AWS failed to answer ({code}): {_message(error)}", code=code)
    remedy = ""
    if code == "StateMachineTypeNotSupported":
        remedy = (
            "; a pipeline's state machine is a Standard one, and AWS keeps no list of the executions of an Express one"
        )
    if code in _DENIED:
        remedy = (
            "; grant_operate, grant_start_execution, grant_put_items and grant_read_results of the pipeline give what "
            "this needs"
        )
    return AwsError(f"{doing}: {code}: {_message(error)}{remedy}", code=code)


def _without_answer(error: Exception, doing: str) -> AwsError | None:
    """Return an error of boto3 itself."""
    from botocore import exceptions as boto  # noqa: PLC0415 - see the module docstring
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - likewise

    if isinstance(error, ResponseParserError):
        return _not_of_aws(doing)
    if isinstance(error, boto.NoRegionError):
        return AwsError(f"{doing}: no Region is set: give --region, AWS_REGION or a profile that has one")
    if isinstance(error, boto.ProfileNotFound):
        return CredentialsError(f"{doing}: {_lowered(error)}: see `aws configure list-profiles`")
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError, *_sign_in_errors())):
        return CredentialsError(
            f"{doing}: {_lowered(error)}: sign in (aws sso login), or give --profile, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        return ConnectionLostError(f"{doing}: no answer: {_lowered(error)}")
    return AwsError(f"{doing}: {_lowered(error)}") if isinstance(error, boto.BotoCoreError) else None


def _sign_in_errors() -> tuple[type[Exception], ...]:
    from botocore import exceptions as boto  # noqa: PLC0415 - see the module docstring

    return boto.CredentialRetrievalError, boto.SSOError, boto.TokenRetrievalError


def _message(error: Exception) -> str:
    response = getattr(error, "response", None)
    text = response.get("Error", {}).get("Message", "") if isinstance(response, dict) else ""
    return str(text or error).rstrip(".")


def _lowered(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]
