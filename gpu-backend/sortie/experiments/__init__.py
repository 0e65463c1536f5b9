"""The experiments of docs/benchmarks.md, as queues of runs that survive interruption."""
