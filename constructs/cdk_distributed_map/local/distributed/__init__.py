"""Distributed Map: readers, batcher, map runs, records of children, result writer."""
