"""The trainer: one step after another, resumable bit by bit."""
