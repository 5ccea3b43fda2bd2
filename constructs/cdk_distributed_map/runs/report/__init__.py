"""What a run looks like: the page that `distmap report` writes, and the logs of its functions.

It reads descriptions, ledger and results, and changes nothing. Data reaches the page as text, never as markup.
"""
