"""The GPU origin: `sortie-origin/1` (src/origin/protocol.ts) and OpenAI's chat over the batching engine."""
