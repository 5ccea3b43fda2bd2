"""HTTP servers on loopback in front of the engine and of the functions, speaking AWS's protocols.

A request is authenticated, handed to `api` or to `functions`, or passed on to the embedded AWS. It is the top of the
engine: nobody but the server knows it.
"""
