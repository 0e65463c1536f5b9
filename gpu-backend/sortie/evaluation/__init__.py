"""What each exit gets right, and what it costs."""
