"""The files of a run: items that go in, results that come out, and what they say of each item.

`item_files` reads and writes item files, `scan` streams exported results, `reader` and `answers` take them apart,
`item_states` keeps one state for each item in constant memory, `chain` follows a run through its retries.
"""
