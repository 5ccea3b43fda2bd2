"""The account of a run: every item succeeded, failed, was left or is missing, and what is run again.

`reconciliation` adds up what `files` streams, `nested` the maps inside children, `retry` writes the item file of what
did not succeed and starts it under the same identities.
"""
