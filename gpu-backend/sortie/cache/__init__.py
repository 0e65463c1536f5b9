"""The prefix cache: blocks of earlier prompts, byte for byte as src/cache has them (docs/protocol.md)."""
