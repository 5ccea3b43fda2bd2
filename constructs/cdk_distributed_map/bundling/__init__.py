"""Packages beside a function's code: which it wants, and wheels of them for the machine that runs it, without Docker.

It knows the caches alone, so that the construct, which bundles for Lambda, and the local engine, which bundles for this
machine, may both know it. `requirement_files` reads what a folder asks for, lock files included (`locks`); `target`
says what runs on Lambda; `install` has pip or uv fetch wheels for that, `normal` makes them the same everywhere, and
`packages` keeps them in a cache, found by what was asked for.
"""
