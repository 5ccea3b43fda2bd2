"""Nobody but its own clients drives the local AWS: no page, nobody anonymous, nobody with a key of their own making."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from cdk_distributed_map.local import control
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.embedded.process import EmbeddedAws
from cdk_distributed_map.local.guardian import Guardian
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client

MADE_ROLE = (
    "Action=CreateRole&Version=2010-05-08&RoleName=owned&AssumeRolePolicyDocument="
    "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D"
)
FORM: dict[str, Any] = {"Content-Type": "application/x-www-form-urlencoded"}
NOBODY = Keys("AKIAIOSFODNN7EXAMPLE", "nobody's")

Answer = tuple[int, dict[str, str], str]


def ask(url: str, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "") -> Answer:
    """Send a request as it is, and return status, headers and text of the answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": urlsplit(url).netloc, "Content-Length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def signed(
    aws: LocalAws, service: str, method: str, path: str, body: str = "", *, keys: Keys | None = None, **headers: str
) -> dict[str, str]:
    """Return the headers of a request, its signature among them."""
    keys = aws.keys if keys is None else keys
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, aws.endpoint_url + path, given, body.encode())
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(*keys), service, aws.region).add_auth(request)
    return dict(request.headers.items())


def roles(aws: LocalAws) -> set[str]:
    return {role["RoleName"] for role in aws.client("iam").list_roles()["Roles"]}


@pytest.fixture(scope="module")
def bucket(local: LocalAws) -> str:
    """A bucket with an object."""
    local.client("s3").create_bucket(Bucket="visited")
    local.client("s3").put_object(Bucket="visited", Key="a", Body=b"secret")
    return "visited"


@pytest.fixture(scope="module")
def limited(local: LocalAws) -> dict[str, Any]:
    """Credentials of a role that may read one object."""
    iam = local.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": local.account}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName="limited", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    may = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::visited/a"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    iam.put_role_policy(RoleName="limited", PolicyName="p", PolicyDocument=document)
    given = local.client("sts").assume_role(RoleArn=arn, RoleSessionName="visitor")["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


# -- pages in browsers


@pytest.mark.parametrize(
    "mark",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=lambda mark: "-".join(next(iter(mark.items()))),
)
def test_fails_when_a_page_asks_though_it_be_signed(local: LocalAws, mark: dict[str, str]) -> None:
    headers = signed(local, "iam", "POST", "/", MADE_ROLE, **FORM)
    status, told, text = ask(local.endpoint_url, "POST", "/", {**headers, **mark}, MADE_ROLE)
    assert (status, json.loads(text)["message"]) == (403, "the local AWS answers no pages in browsers")
    assert not [name for name in told if name.startswith("access-control-")]
    assert "owned" not in roles(local)


@pytest.mark.parametrize("path", ["/", "/visited/a", "/2015-03-31/functions/f/invocations"])
def test_fails_when_a_page_asks_whether_it_may_ask(local: LocalAws, path: str) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-target"}
    status, told, _ = ask(local.endpoint_url, "OPTIONS", path, asked)
    assert status == 403
    assert not [name for name in told if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "evil.example", "127.0.0.1", "127.0.0.1.evil.example:{port}", ""]
)
def test_fails_when_it_is_called_by_another_name(local: LocalAws, bucket: str, host: str) -> None:
    port = str(urlsplit(local.endpoint_url).port)
    headers = signed(local, "s3", "GET", f"/{bucket}/a", Host=host.format(port=port))
    status, _, text = ask(local.endpoint_url, "GET", f"/{bucket}/a", headers)
    assert status == 403
    assert "secret" not in text
    assert f"is called 127.0.0.1:{port} or localhost:{port} here" in text


def test_it_is_also_called_localhost(local: LocalAws) -> None:
    url = local.endpoint_url.replace("127.0.0.1", "localhost")
    client = boto3.client("sts", endpoint_url=url, region_name="us-east-1", **keys_of(local))
    assert client.get_caller_identity()["Account"] == local.account


# -- administration


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("POST", "/%5Fministack/reset"),
        ("POST", "/%5f%6dinistack/reset"),
        ("POST", "//_ministack/reset"),
        ("POST", "/_ministack/config"),
        ("GET", "/_ministack/health"),
        ("GET", "/_localstack/health"),
        ("GET", "/_aws/ses"),
        ("POST", "http://127.0.0.1/_ministack/reset"),
    ],
    ids=lambda text: text,
)
@pytest.mark.parametrize("by", ["anonymous", "root"])
def test_fails_when_administration_is_asked_for(local: LocalAws, bucket: str, method: str, path: str, by: str) -> None:
    headers = {} if by == "anonymous" else signed(local, "s3", method, path.removeprefix("http://127.0.0.1"))
    status, _, _ = ask(local.endpoint_url, method, path, headers)
    assert status == 403
    assert local.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"secret"


def test_its_health_tells_no_token(local: LocalAws) -> None:
    status, _, text = ask(local.endpoint_url, "GET", "/_distmap/health?challenge=1")
    _, _, other = ask(local.endpoint_url, "GET", "/_distmap/health?challenge=2")
    assert status == 200
    assert local.token not in text
    assert json.loads(text)["answer"] != json.loads(other)["answer"]


# -- signatures


@pytest.mark.parametrize(
    "request_",
    [
        ("PUT", "/anonymous", "", {}),
        ("GET", "/visited/a", "", {}),
        ("PUT", "/visited/b", "x", {}),
        ("GET", "/", "", {}),
        ("GET", "/health", "", {}),
        ("POST", "/", MADE_ROLE, FORM),
        ("POST", "/", MADE_ROLE, {"Content-Type": "text/plain"}),
        ("POST", "/", "{}", {"X-Amz-Target": "AWSStepFunctions.StartExecution"}),
        ("POST", "/", "{}", {"X-Amz-Target": "AWSStepFunctions.ListStateMachines"}),
        ("POST", "/2015-03-31/functions/f/invocations", "{}", {}),
        ("GET", "/2015-03-31/functions", "", {}),
    ],
    ids=lambda value: " ".join(str(each) for each in value)[:60],
)
def test_fails_when_nothing_is_signed(
    local: LocalAws, bucket: str, request_: tuple[str, str, str, dict[str, str]]
) -> None:
    method, path, body, headers = request_
    status, _, text = ask(local.endpoint_url, method, path, headers, body)
    assert status in {400, 403}
    assert any(code in text for code in ("AccessDenied", "MissingAuthenticationToken"))
    assert "secret" not in text
    assert "owned" not in roles(local)
    assert [each["Name"] for each in local.client("s3").list_buckets()["Buckets"]].count("anonymous") == 0
    assert bucket


def keys_of(aws: LocalAws) -> dict[str, Any]:
    return {"aws_access_key_id": aws.keys.access_key, "aws_secret_access_key": aws.keys.secret_key}


@pytest.mark.parametrize(
    "keys",
    [Keys("test", "test"), Keys("000000000000", "test"), NOBODY, Keys("", ""), Keys("own", "test")],
    ids=["dummy", "account", "unknown", "empty", "own key, wrong secret"],
)
@pytest.mark.parametrize(
    "request_",
    [
        ("s3", "/visited/a", "", {}),
        ("iam", "/", MADE_ROLE, FORM),
        ("sts", "/", "Action=GetCallerIdentity&Version=2011-06-15", FORM),
        ("states", "/", "{}", {"X-Amz-Target": "AWSStepFunctions.ListStateMachines"}),
        ("states", "/", '{"executionArn": "x"}', {"X-Amz-Target": "AWSStepFunctions.DescribeExecution"}),
        ("lambda", "/2015-03-31/functions/f/invocations", "{}", {}),
    ],
    ids=["s3", "iam", "sts", "states", "engine", "lambda"],
)
def test_fails_when_it_is_signed_with_another_key(
    local: LocalAws, bucket: str, keys: Keys, request_: tuple[str, str, str, dict[str, str]]
) -> None:
    service, path, body, headers = request_
    keys = Keys(local.keys.access_key, "test") if keys.access_key == "own" else keys
    method = "POST" if body else "GET"
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    status, _, text = ask(
        local.endpoint_url, method, path, signed(local, service, method, path, body, keys=keys, **named), body
    )
    assert status in {400, 403}
    assert any(word in text for word in ("invalid", "does not match", "InvalidAccessKeyId", "IncompleteSignature"))
    assert "secret" not in text.lower().replace("secret access key", "").replace("secret key", "")
    assert bucket
    assert "owned" not in roles(local)


def test_fails_when_the_keys_are_those_of_an_earlier_start(local: LocalAws) -> None:
    before: dict[str, Any] = {"aws_access_key_id": NOBODY.access_key, "aws_secret_access_key": NOBODY.secret_key}
    client = boto3.client("stepfunctions", endpoint_url=local.endpoint_url, region_name="us-east-1", **before)
    with pytest.raises(ClientError, match=r"is invalid\. The keys of a local AWS are new at each start: .*local env"):
        client.list_state_machines()


@pytest.mark.parametrize("iam", [True, False], ids=["iam", "no iam"])
def test_fails_when_what_was_signed_is_altered(local: LocalAws, bucket: str, iam: bool) -> None:  # noqa: FBT001
    if not iam:
        with LocalAws(iam=False) as aws:
            aws.client("s3").create_bucket(Bucket=bucket)
            aws.client("s3").put_object(Bucket=bucket, Key="a", Body=b"secret")
            altered(aws, bucket)
        return
    altered(local, bucket)


def altered(aws: LocalAws, bucket: str) -> None:
    url = aws.endpoint_url
    body = "Action=GetCallerIdentity&Version=2011-06-15"
    assert ask(url, "POST", "/", signed(aws, "sts", "POST", "/", body, **FORM), body)[0] == 200
    assert ask(url, "POST", "/", signed(aws, "iam", "POST", "/", body, **FORM), MADE_ROLE)[0] == 403
    assert ask(url, "GET", f"/{bucket}/a", signed(aws, "s3", "GET", f"/{bucket}/b"))[0] == 403
    assert ask(url, "DELETE", f"/{bucket}/a", signed(aws, "s3", "GET", f"/{bucket}/a"))[0] == 403
    status, _, text = ask(url, "PUT", f"/{bucket}/a", signed(aws, "s3", "PUT", f"/{bucket}/a", "right"), "wrong")
    assert (status, "XAmzContentSHA256Mismatch" in text) == (400, True)
    late = signed(aws, "s3", "GET", f"/{bucket}/a")
    assert ask(url, "GET", f"/{bucket}/a", {**late, "X-Amz-Date": "20200101T000000Z"})[0] == 403
    assert aws.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"secret"
    assert "owned" not in roles(aws)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
@pytest.mark.parametrize("who", ["root", "role"])
def test_addresses_that_were_signed_work(
    local: LocalAws, bucket: str, limited: dict[str, Any], version: str, who: str
) -> None:
    keys = keys_of(local) if who == "root" else limited
    config = Config(signature_version=version, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=local.endpoint_url, region_name="us-east-1", config=config, **keys)
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"}, ExpiresIn=60)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert opener.open(url, timeout=60).read() == b"secret"
    gone = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"}, ExpiresIn=-1)
    for wrong in (url.replace("/a?", "/b?"), url[:-1] + ("x" if url[-1] != "x" else "y"), gone):
        with pytest.raises(urllib.error.HTTPError, match=r"40[03]"):
            opener.open(wrong, timeout=60)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        opener.open(urllib.request.Request(url, method="PUT", data=b"mine"), timeout=60)  # noqa: S310 - our own


def test_fails_when_one_signs_and_another_is_named(local: LocalAws, limited: dict[str, Any]) -> None:
    keys = Keys(limited["aws_access_key_id"], limited["aws_secret_access_key"])
    headers = signed(local, "iam", "POST", "/", MADE_ROLE, keys=keys, Content_Type=FORM["Content-Type"])
    headers["X-Amz-Security-Token"] = limited["aws_session_token"]
    algorithm, _, rest = headers["Authorization"].partition(" ")
    scope = rest.partition("/")[2].partition(",")[0]
    headers["Authorization"] = f"{algorithm} Credential={local.keys.access_key}/{scope}, {rest}"
    status, _, text = ask(local.endpoint_url, "POST", "/", headers, MADE_ROLE)
    assert (status, "invalid" in text) == (403, True)
    assert "owned" not in roles(local)


@pytest.mark.parametrize(
    "mark",
    ["x-distmap-only-asked", "X-Distmap-Resource", "x-distmap-forwarded", "X-DISTMAP-SECRET"],
)
def test_fails_when_a_client_sets_a_header_of_the_engine(
    local: LocalAws, bucket: str, limited: dict[str, Any], mark: str
) -> None:
    keys = Keys(limited["aws_access_key_id"], limited["aws_secret_access_key"])
    request = AWSRequest("PUT", f"{local.endpoint_url}/{bucket}/a", {}, b"mine")
    S3SigV4Auth(Credentials(*keys, limited["aws_session_token"]), "s3", local.region).add_auth(request)
    headers = {**dict(request.headers.items()), mark: "arn:aws:s3:::visited/a"}
    assert ask(local.endpoint_url, "PUT", f"/{bucket}/a", headers, "mine")[0] == 403
    assert local.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"secret"


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"Content-Length": "-1"}, "must be a number"),
        ({"Content-Length": "1e3"}, "must be a number"),
        ({"Transfer-Encoding": "chunked"}, "either with its length or in chunks"),
    ],
    ids=["negative", "no number", "both"],
)
def test_fails_when_nobody_can_tell_where_a_request_ends(local: LocalAws, headers: dict[str, str], word: str) -> None:
    status, _, text = ask(local.endpoint_url, "POST", "/", headers)
    assert (status, word in text) == (400, True)


# -- the port of the embedded AWS


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/_ministack/health"), ("POST", "/_ministack/reset"), ("PUT", "/own-port"), ("GET", "/visited/a")],
    ids=lambda text: text,
)
@pytest.mark.parametrize("secret", [None, "", "guessed"], ids=["none", "empty", "guessed"])
def test_fails_when_the_embedded_aws_is_asked_directly(
    local: LocalAws, embedded_url: str, bucket: str, *, method: str, path: str, secret: str | None
) -> None:
    headers = signed(local, "s3", method, path) | ({} if secret is None else {"x-distmap-secret": secret})
    headers["Host"] = urlsplit(embedded_url).netloc
    status, _, text = ask(embedded_url, method, path, headers)
    assert (status, text) == (403, "this port is for the local AWS alone: use its endpoint\n")
    assert local.client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"secret"


def test_fails_when_the_embedded_aws_is_asked_for_a_web_socket(embedded_url: str) -> None:
    address = urlsplit(embedded_url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=60) as connection:
        connection.sendall(
            b"GET /_aws/execute-api/a/b HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b" 403 " in connection.recv(4096).split(b"\r\n", 1)[0]


def test_each_start_has_keys_of_its_own(tmp_path: Path) -> None:
    guardian = Guardian()
    first, second = (EmbeddedAws(guardian=guardian, scratch=tmp_path) for _ in range(2))
    guardian.close()
    assert first.keys != second.keys
    assert first.secret != second.secret


# -- what is stored


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of a local AWS that is ended in any case."""
    yield tmp_path / ".distmap"
    control.down(folder=tmp_path / ".distmap")


def test_its_keys_are_stored_for_its_owner_alone(folder: Path) -> None:
    running = control.up(folder=folder)
    for file in folder.iterdir():
        holds = running.secret_key in file.read_text(errors="replace")
        assert not holds or stat.S_IMODE(file.stat().st_mode) == 0o600
    assert running.secret_key not in json.dumps(running.as_json())
    variables = control.env(folder=folder)
    assert (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]) == running.keys
    process = Path(f"/proc/{running.pid}/cmdline")
    assert not process.exists() or running.secret_key.encode() not in process.read_bytes()


# -- clients of the same process


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Something that takes connections as a proxy does, and what it was sent."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    seen.append(connection.recv(65_536))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("shell", ["clean", "of another account"])
def test_clients_of_this_process_use_nothing_of_the_machine(
    local: LocalAws, monkeypatch: pytest.MonkeyPatch, proxy: tuple[str, list[bytes]], tmp_path: Path, shell: str
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    url, seen = proxy
    if shell != "clean":
        for name in (
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "AWS_ENDPOINT_URL_SFN",
            "AWS_ENDPOINT_URL",
        ):
            monkeypatch.setenv(name, url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-another-account")
        monkeypatch.setenv("AWS_PROFILE", "production")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
    client = Client(endpoint_url=local.endpoint_url)
    assert client.aws.sfn().list_state_machines()["stateMachines"] is not None
    assert client.aws.s3().list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.aws.sfn().meta.region_name == local.region
    client.aws.close()
    local_client = LocalAws.client(local, "sts")
    assert local_client.get_caller_identity()["Account"] == local.account
    assert seen == []
