"""What ministack's CloudFormation leaves out of functions: dead-letter queues, and reserved concurrency with its limit.

It runs in the process of the embedded AWS and imports nothing of the engine.
"""

from __future__ import annotations

import importlib
from typing import Any

from distmap import limits


def complete_functions() -> None:
    """Let CloudFormation give functions what they declare, and Lambda refuse what it can't reserve."""
    lambda_svc = vars(importlib.import_module("ministack.services.lambda_svc"))
    provisioners = vars(importlib.import_module("ministack.services.cloudformation.provisioners"))
    of_functions = provisioners["_RESOURCE_HANDLERS"]["AWS::Lambda::Function"]
    functions = lambda_svc["_functions"]
    # For GetAccountSettings; ministack's own is a matter of this machine's memory.
    lambda_svc["_ACCOUNT_CONCURRENCY_CAP"] = limits.ACCOUNT_CONCURRENCY
    # The properties are the second argument of the one, and the third of the other.
    for name, place in (("create", 1), ("update", 2)):

        def provision(*given: Any, made: Any = of_functions[name], place: int = place, **named: Any) -> Any:
            properties = given[place]
            reserved = properties.get("ReservedConcurrentExecutions")
            if reserved is not None:
                refusal = refused(functions, None if place == 1 else given[0], int(reserved))
                if refusal is not None:
                    raise ValueError(refusal)
            answer = made(*given, **named)
            function = functions[answer[0]]
            function["concurrency"] = None if reserved is None else int(reserved)
            if properties.get("DeadLetterConfig"):
                function["config"]["DeadLetterConfig"] = properties["DeadLetterConfig"]
            else:
                function["config"].pop("DeadLetterConfig", None)
            return answer

        of_functions[name] = provision
    put, error_response = lambda_svc["_put_function_concurrency"], lambda_svc["error_response_json"]

    def put_if_allowed(name: str, data: dict[str, Any]) -> Any:
        refusal = refused(functions, name, data.get("ReservedConcurrentExecutions", 0))
        return put(name, data) if refusal is None else error_response("InvalidParameterValueException", refusal, 400)

    lambda_svc["_put_function_concurrency"] = put_if_allowed


def refused(functions: Any, name: str | None, reserved: int) -> str | None:
    """Return why Lambda reserves no such concurrency; None where it does.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html

    Args:
        functions: The functions of the account, with what they have reserved.
        name: The function; None for a new one.
        reserved: What it is to reserve.
    """
    others = sum(functions[other].get("concurrency") or 0 for other in functions if other != name)
    left = limits.ACCOUNT_CONCURRENCY - limits.UNRESERVABLE_CONCURRENCY - others
    if reserved <= left:
        return None
    return (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        f"its minimum value of [{limits.UNRESERVABLE_CONCURRENCY}]. (Service: Lambda, Status Code: 400; the account "
        f"has {limits.ACCOUNT_CONCURRENCY:,}, other functions have reserved {others:,} of them: reserve at most "
        f"{max(0, left):,})"
    )
