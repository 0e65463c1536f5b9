"""The trainer that made the committed models/tiny; it goes when `python -m sortie.experiments tiny` makes the next."""
