"""The results of a run, streamed: one record for each item, in order where asked, as rows, tables or frames.

It reads what `files` streams, and follows retries; `nested` does so for the maps inside children.
"""
