"""The engine that writes replies: reads models, stores and publishes what they say, ends it."""
