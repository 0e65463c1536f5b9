"""A small world to learn: generated chats with verifiable answers, in graded families."""
