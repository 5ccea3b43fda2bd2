"""The results of a run, streamed: one record for each item, in order where asked, as rows, tables or frames.

It knows the files and the ledger, which says what can't be read. `item_results` and `item_failures` follow a run
through its rounds and retries, `nested` does so for the maps inside children; `columns` writes them as CSV, Parquet and
the like, `tables` makes frames of them, and `sql` asks them.
"""
