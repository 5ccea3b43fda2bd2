"""Runs in the process of the embedded AWS: starts ministack, with what it needs to pass for AWS here.

Every request seems to have come over TLS, as on AWS. Policies that deny what comes without it, as CDK writes them for
its own bucket and for any bucket with ``enforce_ssl``, would else deny everything on loopback.

Buckets get the default encryption with a key that their template gives them, which ministack's CloudFormation leaves
out: without it no object would say which key a state machine's role has to be able to use. AWS's own key asks for no
permission, and ministack has none: the bucket of the CDK's assets, which is encrypted with that one, stays as it is.
So it does with the dead-letter queues of functions.

Large objects are in files, and one that can't be kept there is refused (:mod:`.embedded.objects`); who may not list a
bucket isn't told what is not in it.

Where state is kept on disk, an object's content and the file with its size and ETag come there together. ministack
writes one after the other: killed in between, it would give new content the size and ETag of what it replaced. And only
one process at a time has a folder of state.

Nobody is let in but the engine, and those whose request it passes on and who signed it (:mod:`.embedded.gate`).

It also says who may make the calls that the engine answers. The engine hands it such a call as it came, so that
signature and session are looked at as those of any other, with a header that asks for no more than that: where the
caller may, the answer is 204, else it is the refusal.

What rules of EventBridge match is handed to the engine, and the engine sends events of executions
(:mod:`.embedded.event_rules`).

It imports nothing of the engine, to start fast and stay small.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

if __name__ == "__main__":
    # Siblings, without what the packages above them import.
    for _name, _folder in (
        ("cdk_distributed_map", Path(__file__).parents[2]),
        ("cdk_distributed_map.local", Path(__file__).parents[1]),
    ):
        _package = ModuleType(_name)
        _package.__path__ = [str(_folder)]
        sys.modules[_name] = _package

from cdk_distributed_map.local.embedded.event_rules import TARGETS_VARIABLE, hand_over, look_at_schedules, taking_events
from cdk_distributed_map.local.embedded.function_properties import complete_functions
from cdk_distributed_map.local.embedded.gate import Gate
from cdk_distributed_map.local.embedded.headers import ONLY_ASKED, RESOURCE, SECRET_VARIABLE
from cdk_distributed_map.local.embedded.objects import in_pieces, keep_in_files, persisted
from cdk_distributed_map.local.embedded.protocols import know_protocols

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]
Handler = Callable[..., Awaitable[tuple[int, dict[str, str], bytes]]]
_ANSWERED_ELSEWHERE = ("states", "lambda")
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html and list_amazonsns.html have no
# actions for batches.
_OF_BATCHES = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
_SIDECAR = ".meta.json"
# ministack passes over files whose name ends so.
_CONTENT = ".content.tmp"
_COMMIT = ".commit.tmp"
_LOCK_SECONDS = 5.0


def as_if_secure(application: Application) -> Application:
    """Return the application behind TLS, as far as it can tell."""

    async def secure(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "scheme": "https"}
        await application(scope, receive, send)

    return secure


def encryption(configuration: Mapping[str, Any]) -> bytes:
    """Return the body of PutBucketEncryption for a template's ``BucketEncryption``."""
    root = ElementTree.Element("ServerSideEncryptionConfiguration")
    for encryption_rule in configuration.get("ServerSideEncryptionConfiguration", []):
        rule = ElementTree.SubElement(root, "Rule")
        default = ElementTree.SubElement(rule, "ApplyServerSideEncryptionByDefault")
        for name, value in encryption_rule.get("ServerSideEncryptionByDefault", {}).items():
            ElementTree.SubElement(default, name).text = str(value)
        if "BucketKeyEnabled" in encryption_rule:
            ElementTree.SubElement(rule, "BucketKeyEnabled").text = str(encryption_rule["BucketKeyEnabled"]).lower()
    return ElementTree.tostring(root)


def encrypt_buckets() -> None:
    """Let CloudFormation set the default encryption of buckets."""
    provisioners = importlib.import_module("ministack.services.cloudformation.provisioners")
    s3 = importlib.import_module("ministack.services.s3")
    settings = vars(provisioners)["_S3_BUCKET_CONFIGURATIONS"]
    known = {name for name, *_ in settings}
    if "BucketEncryption" not in known:
        put, delete = vars(s3)["_put_bucket_encryption"], vars(s3)["_delete_bucket_encryption"]

        def put_with_key(bucket: str, body: bytes) -> None:
            if b"<KMSMasterKeyID>" in body:
                put(bucket, body)

        added = ("BucketEncryption", encryption, put_with_key, delete)
        vars(provisioners)["_S3_BUCKET_CONFIGURATIONS"] = (*settings, added)


def only_asked(handler: Handler) -> Handler:
    """Return the handler of a service that does nothing where it is only asked."""

    async def handle(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any
    ) -> tuple[int, dict[str, str], bytes]:
        if ONLY_ASKED in headers:
            return 204, {}, b""
        return await handler(method, path, headers, body, query)

    return handle


def answer_who_may() -> None:
    """Let ministack answer whether a caller may, and name action and resource of each refusal, as AWS does."""
    app = importlib.import_module("ministack.app")
    actions = importlib.import_module("ministack.core.iam_actions")
    handlers = vars(app)["SERVICE_HANDLERS"]
    handlers.update({name: only_asked(handlers[name]) for name in _ANSWERED_ELSEWHERE})
    action_of, resource_of, refuse, worded = (
        vars(actions)[name]
        for name in (
            "extract_iam_action",
            "extract_resource_arn",
            "access_denied_response",
            "identity_denial_message",
        )
    )

    def asked(*request: Any) -> str | None:
        action: str | None = action_of(*request)
        return None if action is None else _OF_BATCHES.get(action, action)

    def named(service: str, method: str, path: str, headers: Mapping[str, str], *rest: Any) -> str:
        given = headers.get(RESOURCE)
        return str(resource_of(service, method, path, headers, *rest)) if given is None else given

    def refused(service: str, action: str, principal: str, request_id: str, **more: Any) -> Any:
        by_resource = more.get("explicit_deny") and more.get("resource_policy_arn")
        if not more.get("message") and not more.get("error_code") and not by_resource:
            resource = more.get("resource_arn", "*")
            shown = f'"{resource}"' if service == "s3" else resource
            more["message"] = worded(action, principal, shown, bool(more.get("explicit_deny")))
        return refuse(service, action, principal, request_id, **more)

    vars(actions).update(extract_iam_action=asked, extract_resource_arn=named, access_denied_response=refused)


class Pair:
    """Writes an object's content and what is known of it as one.

    Both are written beside their places first. Once the second is there whole the object counts as written: whoever
    starts next finishes it (:func:`mend`) if this process doesn't.

    Args:
        write: Writes one file, which is there whole or not at all.
    """

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._content: str | None = None

    def write(self, path: str, data: bytes | str, *, text: bool = False) -> None:
        """Write the one, or the other after it."""
        if not path.endswith(_SIDECAR):
            self._write(path + _CONTENT, data, text=text)
            self._content = path
        elif self._content is None:
            # The content stays what it was.
            self._write(path, data, text=text)
        else:
            self._write(self._content + _COMMIT, data, text=text)
            finish(Path(self._content))
            self._content = None

    def abandon(self) -> None:
        """Leave nothing of what was not written to the end: it may be what the disk is full of."""
        if self._content is not None:
            Path(self._content + _CONTENT).unlink(missing_ok=True)


def finish(path: Path) -> None:
    """Put an object's content and sidecar in their places, whichever are still beside them."""
    with contextlib.suppress(FileNotFoundError):
        Path(f"{path}{_CONTENT}").replace(path)
    Path(f"{path}{_COMMIT}").replace(f"{path}{_SIDECAR}")


def mend(folder: Path) -> None:
    """Finish what a killed process had begun to put in its place, and remove what it hadn't written to the end."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(_COMMIT):
                finish(Path(parent, name.removesuffix(_COMMIT)))
        for name in names:
            if name.endswith(".tmp"):
                Path(parent, name).unlink(missing_ok=True)


def write_in_pairs(s3: ModuleType) -> None:
    """Let objects be persisted in pairs."""
    current: ContextVar[Pair | None] = ContextVar("current", default=None)
    persist, write = vars(s3)["_persist_object"], vars(s3)["_atomic_write"]

    def persist_in_pairs(bucket: str, key: str, obj: Any) -> None:
        pair = Pair(write)
        before = current.set(pair)
        try:
            persist(bucket, key, obj)
        finally:
            current.reset(before)
            pair.abandon()

    def write_one(path: str, data: bytes | str, *, text: bool = False) -> None:
        pair = current.get()
        (write if pair is None else pair.write)(path, data, text=text)

    vars(s3).update(_persist_object=persisted(s3, persist_in_pairs), _atomic_write=write_one)


class Failures(logging.Handler):
    """Notes that something went wrong, which ministack tells its log alone."""

    seen = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take what is logged."""
        self.seen = self.seen or record.levelno >= logging.ERROR


@contextlib.contextmanager
def alone(lock: Path, failures: Failures) -> Iterator[None]:
    """Have a folder of state to itself.

    Its lock file is empty unless whoever had it is at work, was killed, or could not write all of the state.

    Args:
        lock: The lock file.
        failures: Whether the state could be written.

    Raises:
        SystemExit: Another process has it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+", encoding="ascii") as file:
        give_up = time.monotonic() + _LOCK_SECONDS
        # One that was killed may take a moment to go.
        while not _locked(file.fileno()):
            if time.monotonic() > give_up:
                file.seek(0)
                owner = file.read()
                sys.exit(f"the state in {lock.parent} is in use by process {owner}: end it, or keep state elsewhere")
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        except SystemExit:
            file.truncate(0 if not failures.seen else None)
            raise
        file.truncate(0 if not failures.seen else None)


def _locked(file: int) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - POSIX only: elsewhere nothing keeps two processes apart
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def serve(contents: Path) -> None:
    """Run until told to end.

    Args:
        contents: Folder of large objects.
    """
    secret = os.environ.pop(SECRET_VARIABLE)
    know_protocols()
    ministack, s3 = (importlib.import_module(f"ministack.{name}") for name in ("app", "services.s3"))
    encrypt_buckets()
    complete_functions()
    answer_who_may()
    keep_in_files(ministack, s3, contents)
    look_at_schedules()
    targets = os.environ.pop(TARGETS_VARIABLE, None)
    if targets is not None:
        hand_over(targets, secret)
    secure = as_if_secure(taking_events(ministack.app))

    async def application(scope: Scope, receive: Any, send: Any) -> None:
        await secure(scope, receive, in_pieces(send, receive))

    vars(ministack)["app"] = Gate(application, secret=secret)
    if vars(s3)["S3_PERSIST"]:
        write_in_pairs(s3)
    ministack.main()


def main() -> None:
    """Run until told to end, with state on disk where a lock for it is named."""
    if len(sys.argv) == 1:
        serve(Path(os.environ["TMPDIR"], "objects"))
        return
    lock = Path(sys.argv.pop())
    failures = Failures()
    importlib.import_module("ministack.core.persistence").logger.addHandler(failures)
    with alone(lock, failures):
        mend(Path(os.environ["S3_DATA_DIR"]))
        # Beside where they go in the end: the same disk.
        serve(lock.parent / "contents")


if __name__ == "__main__":
    main()
