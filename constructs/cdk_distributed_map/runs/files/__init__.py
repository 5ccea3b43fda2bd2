"""The files of a run: items that go in, results that come out, and what they say of each item.

It knows how runs are found and how AWS is asked. `item_files` reads and writes item files, `scan` streams exported
results through the runtime's own reader, `item_states` keeps one state for each item in constant memory, `chain`
follows a run through its retries, and `unread` says of a run that ended before its items were read.
"""
