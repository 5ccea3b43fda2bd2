"""EventBridge and asynchronous invocations, as far as the embedded AWS leaves them to the engine.

`status_change` words the events of executions and `bus` sends them; `deliveries` takes what rules have matched,
`inputs` makes of each event what a target is sent, `targets` sends it as EventBridge or Lambda may, and `destinations`
sends what becomes of asynchronous invocations. It knows executions, functions and IAM; the embedded AWS is handed over.
"""
