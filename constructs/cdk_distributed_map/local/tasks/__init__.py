"""What a Task state can call: functions, other executions, and any service by its SDK.

An integration gets its arguments and a call, asks IAM under the state machine's role, calls, and gives its result as
Step Functions shows it. It knows executions and IAM, and no state.
"""
