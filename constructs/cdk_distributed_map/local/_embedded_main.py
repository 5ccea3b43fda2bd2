"""Runs in the process of the embedded AWS: starts ministack as if every request had come over TLS.

On AWS every request does. Policies that deny what comes without it, as CDK writes them for its own bucket and for any
bucket with ``enforce_ssl``, would else deny everything on loopback.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


def as_if_secure(application: Application) -> Application:
    """Return the application behind TLS, as far as it can tell."""

    async def secure(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "scheme": "https"}
        await application(scope, receive, send)

    return secure


def main() -> None:
    """Run until told to end."""
    ministack = importlib.import_module("ministack.app")
    vars(ministack)["app"] = as_if_secure(ministack.app)
    ministack.main()


if __name__ == "__main__":
    main()
