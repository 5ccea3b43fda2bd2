"""What users declare: sources, captures, workers, batching, combiner, concurrency, retries and where results go.

Plain data with its checks. It knows the CDK's types, the limits, and of the package only names and permissions. A
setting is checked when it is made, so that an error points at the line that made it; it renders nothing and creates
nothing. `DistributedMapPipeline` takes settings; `resources` makes what they need; `definition` renders them.
"""
