"""What is rendered of the settings: the states of a pipeline in Amazon States Language.

It knows the settings, the resources that were made for them, and the plan, which it describes a machine to. `flow` puts
the states in order (find items, capture, maps, account, combine); `map_state` is the Distributed Map with the copy for
item files, `lambda_task` a Lambda task with its retries, `rounds` the way back into the map, `tolerance` what Step
Functions tolerates; `express` and `check` read the rendered states once more, as Step Functions would.
"""
