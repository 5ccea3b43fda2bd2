"""How a name becomes a pipeline or a run: deployed definitions, their pipelines, names and ARNs.

It asks AWS through `aws` and reads definitions as they were rendered; it reads no files of runs. `handles` is what
it gives: a pipeline and a run as AWS describes them, which every other room takes.
"""
