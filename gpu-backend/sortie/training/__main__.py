"""`python -m sortie.training`: the same as `sortie-train`, for launchers."""

from .cli import main

main()
