"""A run while it runs: progress by item counts, for the whole run and for the maps inside its children.

It polls through `aws`, within the quotas, and gives one `Progress` after another until the run has ended.
"""
