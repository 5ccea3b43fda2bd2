"""Large objects are in files, byte for byte what was put; one that finds no room on the disk is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from cdk_distributed_map.local.embedded.bodies import Body, Spool
from cdk_distributed_map.local.embedded.process import EmbeddedAws
from cdk_distributed_map.local.guardian import Guardian
from cdk_distributed_map.local.server import LocalAws

MIB = 1024 * 1024
BUCKET = "objects"
IN_PARTS = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=2)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prlimit")


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret


@pytest.fixture(scope="module", params=["memory", "state"])
def aws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """An embedded AWS that keeps its state in memory, or in a folder."""
    folder = tmp_path_factory.mktemp("objects")
    guardian = Guardian()
    state = folder / "state" if request.param == "state" else None
    embedded = EmbeddedAws(guardian=guardian, scratch=folder, state=state, iam=False)
    embedded.start()
    embedded.clients()("s3").create_bucket(Bucket=BUCKET)
    yield embedded
    embedded.stop()
    guardian.close()


@pytest.fixture
def s3(aws: EmbeddedAws) -> Any:
    """Its S3."""
    return aws.clients()("s3")


def got(s3: Any, key: str, **more: Any) -> bytes:
    return bytes(s3.get_object(Bucket=BUCKET, Key=key, **more)["Body"].read())


@pytest.mark.parametrize("size", [0, 1, 128 * 1024 - 1, 128 * 1024, 3 * MIB + 1])
def test_an_object_is_what_was_put(s3: Any, size: int) -> None:
    data = content(size)
    put = s3.put_object(Bucket=BUCKET, Key="one", Body=data, ChecksumAlgorithm="CRC32")
    assert put["ETag"].strip('"') == hashlib.md5(data).hexdigest()  # noqa: S324 - S3's
    answer = s3.get_object(Bucket=BUCKET, Key="one", ChecksumMode="ENABLED")
    assert answer["Body"].read() == data
    assert answer["ContentLength"] == s3.head_object(Bucket=BUCKET, Key="one")["ContentLength"] == size


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_fails_when_a_checksum_is_not_that_of_the_object(s3: Any, algorithm: str) -> None:
    data = content(MIB)
    s3.put_object(Bucket=BUCKET, Key="summed", Body=data, ChecksumAlgorithm=algorithm)
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=BUCKET, Key="summed", Body=content(MIB, 1), **{f"Checksum{algorithm}": "AAAAAA=="})
    assert got(s3, "summed") == data


def test_parts_are_one_object(s3: Any, tmp_path: Path) -> None:
    data = content(12 * MIB)
    file = tmp_path / "data"
    file.write_bytes(data)
    s3.upload_file(str(file), BUCKET, "parts", Config=IN_PARTS)
    assert got(s3, "parts") == data
    head = s3.head_object(Bucket=BUCKET, Key="parts")
    digests = [hashlib.md5(data[at : at + 5 * MIB]).digest() for at in range(0, len(data), 5 * MIB)]  # noqa: S324
    assert head["ETag"] == f'"{hashlib.md5(b"".join(digests)).hexdigest()}-3"'  # noqa: S324 - S3's
    assert head["ContentLength"] == len(data)
    first, last = 5 * MIB - 100, 10 * MIB + 99
    assert got(s3, "parts", Range=f"bytes={first}-{last}") == data[first : last + 1]
    assert got(s3, "parts", Range="bytes=-7") == data[-7:]
    assert got(s3, "parts", PartNumber=2) == data[5 * MIB : 10 * MIB]
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/parts")
    s3.put_object(Bucket=BUCKET, Key="parts", Body=b"another")
    assert got(s3, "copy") == data


def test_parts_may_be_copied_from_objects_of_any_size(s3: Any) -> None:
    large, small = content(6 * MIB), content(1_000, 1)
    s3.put_object(Bucket=BUCKET, Key="large", Body=large)
    s3.put_object(Bucket=BUCKET, Key="small", Body=small)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="made")["UploadId"]
    named = {"Bucket": BUCKET, "Key": "made", "UploadId": upload}
    parts = []
    for number, source in enumerate(("large", "small"), 1):
        copied = s3.upload_part_copy(**named, PartNumber=number, CopySource=f"{BUCKET}/{source}")
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    end = s3.upload_part(**named, PartNumber=3, Body=b"")
    parts.append({"PartNumber": 3, "ETag": end["ETag"]})
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert got(s3, "made") == large + small


def test_versions_keep_what_they_were(s3: Any) -> None:
    bucket = "versioned"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=content(MIB, seed))["VersionId"] for seed in range(2)]
    found = [s3.get_object(Bucket=bucket, Key="k", VersionId=each)["Body"].read() for each in ids]
    assert found == [content(MIB, 0), content(MIB, 1)]


def files(aws: EmbeddedAws) -> list[Path]:
    folder = aws.scratch / "objects" if aws.state is None else aws.state / "contents"
    return list(folder.iterdir())


def test_what_nobody_needs_is_removed(aws: EmbeddedAws, s3: Any) -> None:
    before = set(files(aws))
    s3.put_object(Bucket=BUCKET, Key="gone", Body=content(MIB))
    s3.put_object(Bucket=BUCKET, Key="gone", Body=content(MIB, 1))
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="aborted")["UploadId"]
    s3.upload_part(Bucket=BUCKET, Key="aborted", UploadId=upload, PartNumber=1, Body=content(MIB))
    s3.abort_multipart_upload(Bucket=BUCKET, Key="aborted", UploadId=upload)
    s3.delete_object(Bucket=BUCKET, Key="gone")
    assert set(files(aws)) <= before


@LINUX
def test_memory_stays_what_it_was(aws: EmbeddedAws, s3: Any, tmp_path: Path) -> None:
    size = 96 * MIB
    file = tmp_path / "data"
    with file.open("wb") as sink:
        for seed in range(size // MIB):
            sink.write(content(MIB, seed))
    before = peak(aws.pid)
    with file.open("rb") as source:
        s3.put_object(Bucket=BUCKET, Key="whole", Body=source)
    s3.upload_file(str(file), BUCKET, "in-parts", Config=IN_PARTS)
    for key in ("whole", "in-parts"):
        read = s3.get_object(Bucket=BUCKET, Key=key)["Body"]
        assert sum(len(piece) for piece in read.iter_chunks(MIB)) == size
        s3.copy_object(Bucket=BUCKET, Key=f"{key}-copy", CopySource=f"{BUCKET}/{key}")
    assert peak(aws.pid) - before < 48 * 1024


@LINUX
def test_what_nobody_listens_to_is_not_kept(aws: EmbeddedAws, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="long", Body=content(MIB) * 64)
    before = peak(aws.pid)
    for _ in range(3):
        body = s3.get_object(Bucket=BUCKET, Key="long")["Body"]
        body.read(1)
        body.close()
    assert sum(len(piece) for piece in s3.get_object(Bucket=BUCKET, Key="long")["Body"].iter_chunks(MIB)) == 64 * MIB
    assert peak(aws.pid) - before < 32 * 1024


def peak(pid: int) -> int:
    """Return the peak of a process's memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


# -- a disk that is full


def limit(pid: int, size: int) -> None:
    """Let a process write no larger files from now on."""
    import resource

    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))


@contextlib.contextmanager
def files_of_at_most(size: int, pid: int) -> Iterator[None]:
    """Let a process write no larger files, as on a disk with no room left."""
    import resource

    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def put(s3: Any, key: str, data: bytes, tmp_path: Path) -> None:
    del tmp_path
    s3.put_object(Bucket=BUCKET, Key=key, Body=data)


def put_in_parts(s3: Any, key: str, data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(data)
    s3.upload_file(str(file), BUCKET, key, Config=IN_PARTS)


@LINUX
@pytest.mark.parametrize("way", [put, put_in_parts], ids=["whole", "in parts"])
def test_fails_when_the_disk_is_full_and_loses_nothing(
    aws: EmbeddedAws, s3: Any, way: Callable[..., None], tmp_path: Path
) -> None:
    s3.put_object(Bucket=BUCKET, Key="full", Body=b"before")
    with (
        files_of_at_most(MIB, aws.pid),
        pytest.raises(Exception, match=r"InsufficientStorage.*can't keep this") as found,
    ):
        way(s3, "full", content(6 * MIB), tmp_path)
    assert "reached max retries" not in str(found.value)
    assert got(s3, "full") == b"before"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="full")["Contents"]] == ["full"]
    way(s3, "full", content(6 * MIB), tmp_path)
    assert got(s3, "full") == content(6 * MIB)


@LINUX
@pytest.mark.parametrize("aws", ["state"], indirect=True)
@pytest.mark.parametrize("versioning", ["Suspended", "Enabled"])
def test_fails_when_a_small_object_cannot_be_kept(aws: EmbeddedAws, s3: Any, versioning: str) -> None:
    assert aws.state is not None
    bucket = f"small-{versioning.lower()}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning})
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    for size in (10_000, 1):
        # Either the content or what is known of it has no room.
        with files_of_at_most(50, aws.pid), pytest.raises(ClientError, match="InsufficientStorage"):
            s3.put_object(Bucket=bucket, Key="k", Body=content(size))
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"before"
        assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 1
        with files_of_at_most(50, aws.pid), pytest.raises(ClientError, match="InsufficientStorage"):
            s3.put_object(Bucket=bucket, Key="new", Body=content(size))
        with pytest.raises(ClientError, match="404"):
            s3.head_object(Bucket=bucket, Key="new")
    assert not list(aws.state.rglob("*.tmp"))
    s3.put_object(Bucket=bucket, Key="k", Body=b"after")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"after"


@LINUX
@pytest.mark.parametrize(
    "full", [pytest.param(True, id="full"), pytest.param(False, id="room", marks=pytest.mark.slow)]
)
def test_it_is_said_that_a_state_could_not_be_written(tmp_path: Path, *, full: bool) -> None:
    said: list[str] = []
    with LocalAws(state=tmp_path, warn=said.append) as aws:
        aws.client("sqs").create_queue(QueueName="kept")
        if full:
            # For as long as it lives.
            limit(aws.pids["aws"], 50)
    lost = f"not all of the state could be written to {tmp_path}: objects are there, all else may be as it was before"
    assert said == ([lost] if full else [])
    with LocalAws(state=tmp_path, warn=said.append) as aws:
        assert aws.killed is full
        assert len(aws.client("sqs").list_queues().get("QueueUrls", [])) == (0 if full else 1)


def test_a_state_is_found_again(tmp_path: Path) -> None:
    data = content(12 * MIB)
    file = tmp_path / "data"
    file.write_bytes(data)
    guardian = Guardian()
    for attempt in range(2):
        embedded = EmbeddedAws(guardian=guardian, scratch=tmp_path, state=tmp_path / "state", iam=False)
        embedded.start()
        s3 = embedded.clients()("s3")
        if attempt == 0:
            s3.create_bucket(Bucket=BUCKET)
            s3.upload_file(str(file), BUCKET, "kept", Config=IN_PARTS)
        assert got(s3, "kept") == data
        embedded.stop()
    guardian.close()
    assert [each.name for each in (tmp_path / "state" / "contents").iterdir()] == []


# -- contents by themselves


def test_slices_are_those_of_the_bytes(tmp_path: Path) -> None:
    data = content(700_000)
    bodies = []
    for at in range(0, len(data), 300_000):
        spool = Spool(tmp_path)
        spool.write(data[at : at + 300_000])
        bodies.append(spool.body())
    whole = Body.joined(b"".join(bodies))
    assert (len(whole), whole.whole()) == (len(data), data)
    random_ = random.Random(1)  # noqa: S311 - no secret
    for _ in range(50):
        low, high = (random_.randrange(-10, len(data) + 10) for _ in range(2))
        assert whole[low:high].whole() == data[low:high]
    assert whole[299_999:300_001].whole() == data[299_999:300_001]
    assert whole[5] == data[5]
    assert not whole[3:3]
    assert whole.hashed("sha256").digest() == hashlib.sha256(data).digest()
    assert list(whole[:10]) == list(data[:10])


# -- who may know what is not there


@pytest.fixture(scope="module")
def role_of(local: LocalAws) -> Callable[..., Any]:
    """Makes clients of S3 of new roles."""
    iam = local.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": local.account}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})

    def client(name: str, *statements: dict[str, Any]) -> Any:
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy)
        given = local.client("sts").assume_role(RoleArn=arn, RoleSessionName="reader")["Credentials"]
        return boto3.client(
            "s3",
            endpoint_url=local.endpoint_url,
            region_name=local.region,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    return client


READ: dict[str, Any] = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:PutObject"],
    "Resource": "arn:aws:s3:::hidden/*",
}
LIST: dict[str, Any] = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::hidden"}
LIST_RUNS = {**LIST, "Condition": {"StringLike": {"s3:prefix": "runs/*"}}}
DENIED = r'is not authorized to perform: s3:ListBucket on resource: "arn:aws:s3:::hidden" because'


@pytest.mark.parametrize(
    ("name", "statements", "told"),
    [
        ("hidden-read", [READ], {"runs/a": False, "else": False}),
        ("hidden-list", [READ, LIST], {"runs/a": True, "else": True}),
        ("hidden-runs", [READ, LIST_RUNS], {"runs/a": True, "else": False}),
    ],
    ids=["may read", "may list", "may list runs"],
)
def test_fails_when_a_key_is_missing_and_says_so_to_who_may_list(
    local: LocalAws, role_of: Callable[..., Any], name: str, statements: list[Any], told: dict[str, bool]
) -> None:
    with contextlib.suppress(local.client("s3").exceptions.BucketAlreadyOwnedByYou):
        local.client("s3").create_bucket(Bucket="hidden")
    client = role_of(name, *statements)
    for key, knows in told.items():
        code, message = ("NoSuchKey", "does not exist") if knows else ("AccessDenied", DENIED)
        calls: list[Callable[[str], Any]] = [
            lambda key: client.get_object(Bucket="hidden", Key=key),
            lambda key: client.copy_object(Bucket="hidden", Key="new", CopySource=f"hidden/{key}"),
        ]
        for call in calls:
            with pytest.raises(ClientError, match=message) as found:
                call(key)
            assert found.value.response["Error"]["Code"] == code
        with pytest.raises(ClientError) as found:
            client.head_object(Bucket="hidden", Key=key)
        assert found.value.response["Error"]["Code"] == ("404" if knows else "403")
    with pytest.raises(ClientError, match="NoSuchKey"):
        local.client("s3").get_object(Bucket="hidden", Key="else")
