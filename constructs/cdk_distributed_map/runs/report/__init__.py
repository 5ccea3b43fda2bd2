"""What a run looks like: the page that `distmap report` writes, and the logs of its functions.

It knows the files, the ledger, prices and the plan, and changes nothing. `figures` reads the children of a run once,
`functions` and `retries` its logs; `bounds`, `costs`, `planned` and `before` say what follows from that, `charts` draws
it, and `page` puts it together. Data reaches the page as text, never as markup.
"""
