"""Families of examples: each module makes items of one kind from a seeded random generator."""
