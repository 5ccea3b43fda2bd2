"""The environment variables that keep AWS tools on a local endpoint, and those that would lead them away from it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Final

from cdk_distributed_map.local.embedded.keys import Keys

UNSET: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    # Of credentials that another tool had put there: once it has passed, boto3 refuses those that are set now.
    "AWS_CREDENTIAL_EXPIRATION",
    # AWS tools refuse them beside an endpoint that is given.
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)
"""Variables that would point an AWS tool elsewhere, whatever else is set."""
_OF_ONE_SERVICE: Final = "AWS_ENDPOINT_URL_"
_LOOPBACK: Final = "127.0.0.1"


def local_environment(endpoint: str, region: str, keys: Keys, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that make AWS tools work on a local endpoint, and on nothing else.

    Args:
        endpoint: URL of the endpoint.
        region: Region it is in.
        keys: Credentials of its account's root.
        base: The environment that they are set in; only its proxies are looked at. Default: that of this process.
    """
    base_environment = os.environ if base is None else base
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # What SDKs would find out by asking the metadata address, which is of no machine but AWS's.
        "AWS_DEFAULTS_MODE": "legacy",
        # Some actions have a host of their own, such as sync-states of TestState: there is one here.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        **_unproxied(base_environment),
    }


def misleading_variables(base: Mapping[str, str]) -> list[str]:
    """Return the names of variables to unset: an endpoint of one service would win over the local one."""
    return [*UNSET, *sorted(name for name in base if name.startswith(_OF_ONE_SERVICE))]


def environment_of(variables: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
    """Return a whole environment: that of before with the variables set, and without the misleading ones."""
    return {**{name: value for name, value in base.items() if name not in misleading_variables(base)}, **variables}


def environment_script(variables: Mapping[str, str], shell: str) -> str:
    """Return the commands that set variables in a shell, and unset the misleading ones.

    Raises:
        ValueError: The shell is none of ``sh``, ``fish`` and ``powershell``.
    """
    unset = misleading_variables(os.environ)
    if shell == "sh":
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        lines.append(f"unset {' '.join(unset)}")
    elif shell == "fish":
        lines = [f"set -gx {name} {shlex.quote(value)}" for name, value in variables.items()]
        lines += [f"set -e {name}" for name in unset]
    elif shell == "powershell":
        quoted = {name: value.replace("'", "''") for name, value in variables.items()}
        lines = [f"$env:{name} = '{value}'" for name, value in quoted.items()]
        lines += [f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in unset]
    else:
        message = f"the shell must be sh, fish or powershell, got {shell!r}"
        raise ValueError(message)
    return "\n".join(lines) + "\n"


def _unproxied(base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep a proxy out of the way to loopback; it stays in use for all else."""
    # Of the two spellings curl and Python prefer the small one; Windows knows one only.
    before = base.get("no_proxy", base.get("NO_PROXY", ""))
    hosts = [host.strip() for host in before.split(",") if host.strip()]
    # A star counts where it stands alone.
    value = before if "*" in hosts or _LOOPBACK in hosts else ",".join([*hosts, _LOOPBACK])
    return {"NO_PROXY": value, "no_proxy": value}
