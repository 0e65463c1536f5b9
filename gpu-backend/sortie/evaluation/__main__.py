"""`python -m sortie.evaluation`: the same as `sortie-eval`."""

from .cli import main

main()
