"""The serving engine: many requests at different exits of one nested model, computed together."""
