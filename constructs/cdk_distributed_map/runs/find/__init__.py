"""How a name becomes a pipeline or a run: deployed definitions, their pipelines, names and ARNs.

It knows how AWS is asked (`aws`) and how definitions are walked, and reads no files of runs. `pipelines` finds the
state machine that a name means, `definition` reads it as it was rendered, and `handles` is what comes out: a pipeline
and a run as AWS describes them, which every other room takes.
"""
