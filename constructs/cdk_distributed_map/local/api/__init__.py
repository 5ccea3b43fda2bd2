"""The actions of the Step Functions API, as functions over the engine's store.

It knows the program, the executions and IAM, but no sockets. `requests` checks what came in against the API's model,
`operations` answers, `single_states` runs one state alone, and `execution.descriptions` writes answers as AWS does.
`endpoints` calls it for HTTP, tasks of `states:...` directly.
"""
