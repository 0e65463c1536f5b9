"""`python -m sortie.origin` is `sortie-origin`."""

from .server import main

main()
