"""Generation that stops at an exit: greedy, dynamic, self-speculative."""
