"""Runs in the process of the embedded AWS: starts ministack, with what it needs to pass for AWS here.

Every request seems to have come over TLS, as on AWS. Policies that deny what comes without it, as CDK writes them for
its own bucket and for any bucket with ``enforce_ssl``, would else deny everything on loopback.

Buckets get the default encryption with a key that their template gives them, which ministack's CloudFormation leaves
out: without it no object would say which key a state machine's role has to be able to use. AWS's own key asks for no
permission, and ministack has none: the bucket of the CDK's assets, which is encrypted with that one, stays as it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from xml.etree import ElementTree

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


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
    for given in configuration.get("ServerSideEncryptionConfiguration", []):
        rule = ElementTree.SubElement(root, "Rule")
        default = ElementTree.SubElement(rule, "ApplyServerSideEncryptionByDefault")
        for name, value in given.get("ServerSideEncryptionByDefault", {}).items():
            ElementTree.SubElement(default, name).text = str(value)
        if "BucketKeyEnabled" in given:
            ElementTree.SubElement(rule, "BucketKeyEnabled").text = str(given["BucketKeyEnabled"]).lower()
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


def main() -> None:
    """Run until told to end."""
    ministack = importlib.import_module("ministack.app")
    encrypt_buckets()
    vars(ministack)["app"] = as_if_secure(ministack.app)
    ministack.main()


if __name__ == "__main__":
    main()
