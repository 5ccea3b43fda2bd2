"""Runs in the process of a function: makes the process look like Lambda's, then hands over to AWS's runtime client.

It runs on whatever Python the function declares, so it imports nothing of the engine. Arguments: one JSON object
with `handler`, `task_root`, `opt`, `libraries`, `stand_in` (the folder of the stand-in for the native client, or null)
and `packages` (a folder of those that the function has for another machine only, or null).
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel end this process with the one it was started by: also when that is killed and cannot say so.

    Args:
        parent: That process, where it is known. Default: any but the one that takes in orphans.
    """
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - not needed elsewhere

    parent_death_signal = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>
    ctypes.CDLL(None, use_errno=True).prctl(parent_death_signal, signal.SIGKILL)
    if os.getppid() == 1 or os.getppid() != (parent or os.getppid()):
        # It ended before the kernel was asked.
        os._exit(1)


def _builtins_of_site() -> None:
    # The module `site` is kept from adding this machine's packages; handlers may still expect `exit` and its like.
    import site  # noqa: PLC0415 - after the path is what it should be

    site.setquit()
    site.setcopyright()
    site.sethelper()


def main() -> None:
    """Set the path as Lambda does, and run."""
    settings = json.loads(sys.argv[1])
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs start-up time
    standard = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100 - as above
    libraries = [settings["libraries"]]
    if settings["stand_in"] is not None:
        libraries.insert(0, settings["stand_in"])
    sys.path[:] = [*libraries, *standard]
    _builtins_of_site()

    bootstrap = importlib.import_module("awslambdaric.bootstrap")
    lambda_config = importlib.import_module("awslambdaric.lambda_config")
    lambda_runtime_client = importlib.import_module("awslambdaric.lambda_runtime_client")

    layers = os.path.join(settings["opt"], "python")  # noqa: PTH118 - as above
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    of_version = os.path.join(layers, "lib", version, "site-packages")  # noqa: PTH118 - as above
    packages = [] if settings.get("packages") is None else [settings["packages"]]
    sys.path[:] = [*packages, settings["task_root"], of_version, layers, settings["libraries"], *standard]
    sys.argv[:] = ["/var/runtime/bootstrap.py", settings["handler"]]
    configuration = lambda_config.LambdaConfigProvider(sys.argv)
    client = lambda_runtime_client.LambdaRuntimeClient(configuration.api_address, configuration.use_thread_polling)
    bootstrap.run(settings["handler"], client)


if __name__ == "__main__":
    die_with_parent()
    main()
