"""Which protocol each service of the embedded AWS speaks, known without botocore.

ministack gives each answer the content type of its service's protocol, and reads that in botocore's model of the
service. To load botocore and a model of each service takes longer than to deploy a small stack.

It runs in the process of the embedded AWS and imports nothing of the engine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

PROTOCOLS: Final = {
    "cloudformation": ("query", None),
    "dynamodb": ("json", "1.0"),
    "ecr": ("json", "1.1"),
    "ecs": ("json", "1.1"),
    "events": ("json", "1.1"),
    "iam": ("query", None),
    "kms": ("json", "1.1"),
    "lambda": ("rest-json", None),
    "logs": ("json", "1.1"),
    "s3": ("rest-xml", None),
    "secretsmanager": ("json", "1.1"),
    "sns": ("query", None),
    "sqs": ("json", "1.0"),
    "ssm": ("json", "1.1"),
    "states": ("json", "1.0"),
    "sts": ("query", None),
}
"""Protocol and version of its JSON, by ministack's name of a service that pipelines and CDK call."""


class Model:
    """botocore's model of a service, loaded once more than its protocol is asked for.

    Args:
        load: Loads it.
        service: ministack's name of the service.
    """

    def __init__(self, load: Callable[[str], Any], service: str) -> None:
        self._load, self._service = load, service
        protocol, version = PROTOCOLS[service]
        self.metadata = {"protocol": protocol} | ({} if version is None else {"jsonVersion": version})

    def __getattr__(self, name: str) -> Any:
        """Look in the whole model."""
        return getattr(self._load(self._service), name)


def know_protocols() -> None:
    """Let ministack know the protocols of the services that are called most."""
    responses = vars(importlib.import_module("ministack.core.responses"))
    load = responses["_service_model"]
    models = {service: Model(load, service) for service in PROTOCOLS}
    responses["_service_model"] = lambda service: models.get(service) or load(service)
