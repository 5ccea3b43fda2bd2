"""The Distributed Map: items read from S3, batches, children, tolerance, exported results and redrives.

It knows states, executions and IAM. `state` is the Map state; `reader` and the files of each format give items,
`batcher` groups them, `map_run` runs the children within its concurrency, `tolerance` ends it early, `writer` exports
what they answered, and `redrive` takes a map up where it was.
"""
