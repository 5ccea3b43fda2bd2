"""The AWS that stands for everything but Step Functions and Lambda: ministack, and all that works with it.

It knows executions, whose services it serves, and none of the rooms that run states. `process` starts ministack in a
process of its own, where `process_main`, `gate` (who may come in), `objects` (large ones, kept in files) and their like
run, which import nothing of the engine, so that the process starts fast. On this side of it `clients` and `sdk` call
it, `assembly` and `deploy` bring stacks into it, and `find` finds state machines in it.
"""
