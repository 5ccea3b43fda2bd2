"""The S3 of the tests answers without a connection what it answers over one."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ITS_OWN = {"RequestId", "HostId", "HTTPHeaders", "LastModified", "UploadId", "Initiated"}
HEADERS_OF_ONE_CALL = {"date", "last-modified", "x-amz-id-2", "x-amz-request-id", "x-amzn-requestid"}
HEADERS_OF_A_CONNECTION = {"server", "transfer-encoding"}
NO_RETRIES = Config(retries={"total_max_attempts": 1})
PART = b"0123456789" * 600_000


@pytest.fixture
def direct(s3_endpoint: str) -> Iterator[S3Client]:
    client = boto3.client("s3", endpoint_url=s3_endpoint, config=NO_RETRIES)
    yield client
    client.close()


@pytest.fixture
def connected(s3_endpoint: str) -> Iterator[S3Client]:
    """A client that needs a connection: by another name of this machine."""
    client = boto3.client("s3", endpoint_url=s3_endpoint.replace("127.0.0.1", "localhost"), config=NO_RETRIES)
    yield client
    client.close()


def put(s3: S3Client, bucket: str) -> Any:
    return [
        s3.put_object(
            Bucket=bucket, Key="a b/ü+%.txt", Body="grün", Metadata={"color": "green"}, ContentType="text/plain"
        ),
        s3.put_object(Bucket=bucket, Key="stream", Body=io.BytesIO(b"x" * 100_000), ChecksumAlgorithm="SHA256"),
        s3.put_object(Bucket=bucket, Key="empty"),
    ]


def get(s3: S3Client, bucket: str) -> Any:
    put(s3, bucket)
    return [
        s3.get_object(Bucket=bucket, Key="a b/ü+%.txt", ChecksumMode="ENABLED"),
        s3.get_object(Bucket=bucket, Key="stream", Range="bytes=-7"),
        s3.get_object(Bucket=bucket, Key="empty"),
        s3.head_object(Bucket=bucket, Key="stream", ChecksumMode="ENABLED"),
        list(s3.get_object(Bucket=bucket, Key="stream")["Body"].iter_chunks(40_000)),
    ]


def list_pages(s3: S3Client, bucket: str) -> Any:
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"folder {number}/é", Body=bytes(number))
    return [
        list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})),
        s3.list_objects_v2(Bucket=bucket, Delimiter="/"),
    ]


def upload_in_parts(s3: S3Client, bucket: str) -> Any:
    started = s3.create_multipart_upload(Bucket=bucket, Key="large")
    upload: Any = {"Bucket": bucket, "Key": "large", "UploadId": started["UploadId"]}
    parts: Any = [
        {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=PART)["ETag"]}
        for number in (1, 2)
    ]
    listed = s3.list_parts(**upload)
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    return [started, listed, done, s3.get_object(Bucket=bucket, Key="large", Range="bytes=5999990-6000010")]


def delete(s3: S3Client, bucket: str) -> Any:
    put(s3, bucket)
    return [
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "empty"}, {"Key": "stream"}]}),
        s3.delete_object(Bucket=bucket, Key="no such key"),
        s3.list_objects_v2(Bucket=bucket),
    ]


@pytest.mark.parametrize("calls", [put, get, list_pages, upload_in_parts, delete])
def test_answers_are_the_same(calls: Callable[[S3Client, str], Any], direct: S3Client, connected: S3Client) -> None:
    answers = []
    for s3 in (direct, connected):
        bucket = f"same-{uuid.uuid4().hex}"
        s3.create_bucket(Bucket=bucket)
        answers.append(plain(calls(s3, bucket), bucket))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda s3, bucket: s3.get_object(Bucket=bucket, Key="none"),
        lambda s3, bucket: s3.head_object(Bucket=bucket, Key="none"),
        lambda s3, bucket: s3.get_object(Bucket=f"no-{bucket}", Key="none"),
        lambda s3, bucket: s3.get_object(Bucket=bucket, Key="stream", IfMatch='"other"'),
        lambda s3, bucket: s3.put_object(Bucket=bucket, Key="stream", IfNoneMatch="*"),
        lambda s3, bucket: s3.get_object(Bucket=bucket, Key="empty", Range="bytes=5-"),
        lambda s3, bucket: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumCRC32="AAAAAA=="),
        lambda s3, bucket: s3.upload_part(Bucket=bucket, Key="k", UploadId="none", PartNumber=1, Body=b"x"),
    ],
    ids=["no key", "no head", "no bucket", "changed", "exists", "no range", "checksum", "no upload"],
)
def test_fails_when_s3_refuses_and_says_the_same(
    call: Callable[[S3Client, str], Any], direct: S3Client, connected: S3Client
) -> None:
    bucket = f"refused-{uuid.uuid4().hex}"
    direct.create_bucket(Bucket=bucket)
    put(direct, bucket)
    found = []
    for s3 in (direct, connected):
        with pytest.raises(ClientError) as caught:
            call(s3, bucket)
        found.append(plain(caught.value.response, bucket))
    assert found[0] == found[1]


def test_both_ways_lead_to_the_same_objects(direct: S3Client, connected: S3Client) -> None:
    bucket = f"both-{uuid.uuid4().hex}"
    direct.create_bucket(Bucket=bucket)
    connected.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert direct.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


def test_requests_are_signed_and_sent_by_botocore(direct: S3Client) -> None:
    sent = []
    direct.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
    direct.list_buckets()
    assert sent[0].headers["Authorization"].startswith(b"AWS4-HMAC-SHA256 Credential=test/")


def plain(value: Any, bucket: str) -> Any:
    """Return what doesn't differ from call to call, or by how the answer came here."""
    if isinstance(value, dict):
        headers = value.get("HTTPHeaders", {})
        kept = {
            name: text for name, text in headers.items() if name not in HEADERS_OF_ONE_CALL | HEADERS_OF_A_CONNECTION
        }
        found = {name: plain(each, bucket) for name, each in value.items() if name not in ITS_OWN}
        return found | ({"headers": plain(kept, bucket)} if "HTTPHeaders" in value else {})
    if isinstance(value, list):
        return [plain(each, bucket) for each in value]
    if isinstance(value, str):
        return value.replace(bucket, "bucket").replace("localhost", "127.0.0.1")
    return value.read() if hasattr(value, "read") else value
