"""The account of a run: every item succeeded, failed, was left or is missing, and what is run again.

It knows the files of runs, and how one is started. `own_account` reads what the run itself says, `reconciliation` adds
up what `files` streams, `nested` the maps inside children, `redrives` says what a redrive would do, and `retry` writes
the item file of what did not succeed and starts it under the same identities.
"""
