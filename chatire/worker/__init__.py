"""The `worker` process: Procrastinate on a steady connection, the reply engine, the reaper."""
