"""What runs in the process of the embedded AWS beside ministack: who may come in, and where large objects are kept.

Nothing of the engine is imported here, so that the process starts fast and stays small.
"""
