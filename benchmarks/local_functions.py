"""Invocations per second of a function that does nothing: our processes beside those of ministack.

python benchmarks/local_functions.py
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _measure import machine, progress, table

from cdk_distributed_map.local.embedded.process import EmbeddedAws
from cdk_distributed_map.local.functions import DeployedFunctions, Functions, FunctionSettings
from cdk_distributed_map.local.guardian import Guardian
from cdk_distributed_map.local.server import LocalAws

AT_ONCE = (1, 8, 64)
EVENT = b'{"a": 1}'
NAME = "nothing"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def create(client: Callable[[str], Any]) -> None:
    """Create the function, which runs on the Python of this process whoever runs it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("app.py", "def handler(event, context):\n    return event\n")
    role = client("iam").create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    client("lambda").create_function(
        FunctionName=NAME,
        Runtime=version,
        Handler="app.handler",
        Role=role,
        Timeout=60,
        Code={"ZipFile": archive.getvalue()},
    )
    while client("lambda").get_function(FunctionName=NAME)["Configuration"]["State"] != "Active":
        time.sleep(0.05)


def of_pool(aws: EmbeddedAws, guardian: Guardian, scratch: Path, *, native: bool, calls: int) -> list[float]:
    """Measure the processes by themselves, as a map of the engine uses them."""

    async def main() -> list[float]:
        settings = FunctionSettings(native_client=native)
        functions = Functions(
            DeployedFunctions(aws.clients(), cache=settings.cache, keys=aws.keys, secret=aws.secret),
            endpoint="http://127.0.0.1:9",
            guardian=guardian,
            scratch=scratch,
            settings=settings,
        )

        async def many(number: int, at_once: int) -> None:
            left = iter(range(number))

            async def one() -> None:
                for _ in left:
                    result = await functions.run(NAME, EVENT)
                    if result.function_error is not None:
                        raise RuntimeError(result.payload.decode())

            await asyncio.gather(*(one() for _ in range(at_once)))

        rates = []
        for at_once in AT_ONCE:
            await many(200, at_once)
            started = time.perf_counter()
            await many(calls, at_once)
            rates.append(calls / (time.perf_counter() - started))
        await functions.close()
        return rates

    return asyncio.run(main())


def by_boto3(client: Any, calls: int) -> list[float]:
    """Measure an endpoint through boto3."""

    def invoke(_: int) -> None:
        answer = client.invoke(FunctionName=NAME, Payload=EVENT)
        if json.loads(answer["Payload"].read()) != json.loads(EVENT):
            raise RuntimeError(str(answer))

    rates = []
    for at_once in AT_ONCE:
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(invoke, range(2 * at_once)))
            started = time.perf_counter()
            list(threads.map(invoke, range(calls)))
            rates.append(calls / (time.perf_counter() - started))
    return rates


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5_000, help="invocations of each measurement (%(default)s)")
    calls = parser.parse_args().calls
    rows: list[tuple[str, list[float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        guardian = Guardian()
        aws = EmbeddedAws(guardian=guardian, scratch=scratch)
        aws.start()
        try:
            client = aws.clients(pool=max(AT_ONCE))
            create(client)
            for native, what in ((True, "our processes, AWS's native client"), (False, "our processes, the stand-in")):
                progress(what)
                rows.append((what, of_pool(aws, guardian, scratch, native=native, calls=calls)))
            progress("ministack by boto3")
            theirs = by_boto3(client("lambda"), max(calls // 10, 1))
        finally:
            aws.stop()
            guardian.close()
    progress("our endpoint by boto3")
    with LocalAws() as local:
        create(local.client)
        rows.append(("our processes, by boto3", by_boto3(local.client("lambda"), max(calls // 5, 1))))
    rows.append(("ministack, by boto3", theirs))
    header = ["invocations per second", *(f"{number} at once" for number in AT_ONCE)]
    cells = [[what, *(f"{rate:,.0f}" for rate in rates)] for what, rates in rows]
    sys.stdout.write(f"{machine()}\n\n{table(header, cells)}\n")


if __name__ == "__main__":
    main()
