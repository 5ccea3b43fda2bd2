"""What a Task state can call: functions, other executions, and any service by its SDK.

It knows executions, IAM and scripted outcomes, and no state. `resources` turns a Resource into an `integration`, which
gets its arguments and a call, asks IAM under the state machine's role (`permissions`), calls, and gives its result as
Step Functions shows it.
"""
