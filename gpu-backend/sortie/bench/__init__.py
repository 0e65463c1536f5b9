"""Benchmarks of the GPU origin: tables, then one line of JSON."""
