"""How the process of a function is started: its command line and its environment, the latter being Lambda's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdk_distributed_map.local.functions.config import FunctionConfig
from cdk_distributed_map.local.functions.nodes import Node
from cdk_distributed_map.local.functions.pythons import Python

CHILD: Final = Path(__file__).parent / "child"
STAND_IN: Final = CHILD / "stand_in"
WORKER: Final = CHILD / "worker_main.py"
ALONE: Final = ("-S", "-s")
"""Packages of this machine stay out, as a function would not find them in Lambda either."""
NOWHERE: Final = os.devnull


INTERPRETER: Final[Mapping[str, str]] = {"LANG": "en_US.UTF-8", "PYTHONUTF8": "1"}
"""What Python looks at as it starts, unless the function has it otherwise."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Credentials of a role.

    Args:
        access_key: Access key id.
        secret_key: Secret key.
        token: Session token; empty for none.
        expires: When they end, in seconds since the epoch.
    """

    access_key: str
    secret_key: str
    token: str
    expires: float


def pinned(endpoint: str) -> dict[str, str]:
    """Return the variables that keep an AWS SDK on the local endpoint, whatever this machine is configured for."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_CONFIG_FILE": NOWHERE,
        "AWS_SHARED_CREDENTIALS_FILE": NOWHERE,
        "AWS_EC2_METADATA_DISABLED": "true",
        # What the SDK would find out by asking the metadata address.
        "AWS_DEFAULTS_MODE": "legacy",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "NO_PROXY": "*",
    }


def environment(
    config: FunctionConfig, *, endpoint: str, credentials: Credentials, api_port: int, stream: str, scratch: Path
) -> dict[str, str]:
    """Return the environment of a function's process: nothing of this machine's gets in but its path.

    See https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html.
    """
    own = {k: v for k, v in config.environment.items() if not k.startswith("AWS_ENDPOINT_URL")}
    lambdas = {
        "_HANDLER": config.handler,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_REGION": config.region,
        "AWS_DEFAULT_REGION": config.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": config.name,
        "AWS_LAMBDA_FUNCTION_VERSION": config.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": config.log_group or f"/aws/lambda/{config.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api_port}",
        "LAMBDA_TASK_ROOT": str(config.code),
        "LAMBDA_RUNTIME_DIR": str(CHILD),
        "TMPDIR": str(scratch),
        "TEMP": str(scratch),
        "TMP": str(scratch),
        "HOME": str(scratch),
        **pinned(endpoint),
    }
    defaults = {**INTERPRETER, "TZ": ":UTC", "PATH": os.environ.get("PATH", os.defpath)}
    if sys.platform == "win32":
        defaults["SYSTEMROOT"] = os.environ.get("SYSTEMROOT", r"C:\Windows")
    if config.layers is not None:
        defaults["NODE_PATH"] = str(config.layers / "nodejs" / "node_modules")
        defaults["PATH"] = f"{config.layers / 'bin'}{os.pathsep}{defaults['PATH']}"
    # Lambda's own names cannot be set by a function, the others are defaults.
    return {**defaults, **own, **lambdas}


def places(python: Python, libraries: Path) -> tuple[tuple[str, str], ...]:
    """Return where the runtime is on this machine, and where it is on Lambda."""
    name = f"python{python.version[0]}.{python.version[1]}"
    lib = python.executable.parent.parent / "lib" / name
    return ((str(libraries), "/var/runtime"), (str(lib), f"/var/lang/lib/{name}"))


def command(
    config: FunctionConfig, python: Python, libraries: Path, *, stand_in: bool, packages: Path | None = None
) -> list[str]:
    """Return the command line of a function's process; what is in the folder of packages goes before its own."""
    settings: Mapping[str, str | None] = {
        "handler": config.handler,
        "task_root": str(config.code),
        "opt": str(config.layers if config.layers is not None else config.code / "no-layers"),
        "libraries": str(libraries),
        "stand_in": str(STAND_IN) if stand_in else None,
        "packages": None if packages is None else str(packages),
    }
    return [str(python.executable), *ALONE, str(WORKER), json.dumps(settings)]


def node_command(node: Node) -> list[str]:
    """Return the command line of the process of a function in Node.js; the environment says what it runs."""
    return [str(node.executable), str(CHILD / "node_main.mjs")]
