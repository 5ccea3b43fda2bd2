"""What is rendered of the settings: the states of a pipeline in Amazon States Language.

It knows the settings and the resources that were made for them. `flow` puts the states in order (find items, capture,
maps, combine); `map_state` is the Distributed Map with its item file's copy, `lambda_task` a Lambda task with its
retries; `express` and `check` read the rendered states once more, as Step Functions would.
"""
