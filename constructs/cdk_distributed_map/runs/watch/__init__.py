"""A run while it runs: progress by item counts, for the whole run and for the maps inside its children.

It knows how runs are found and how AWS is asked. `watcher` polls within the quotas and gives one `progress` after
another until the run has ended; `nested` adds the Map Runs of children.
"""
