"""Packages beside a function's code: which it wants, and wheels of them for the machine that runs it, without Docker.

`requirement_files` reads what a folder asks for, lock files included; `target` says what runs on Lambda; `install` has
pip or uv fetch wheels for it; `packages` keeps them in a cache, found by what was asked for. It knows nobody, so that
the construct, which bundles for Lambda, and the local engine, which bundles for this machine, both may know it.
"""
