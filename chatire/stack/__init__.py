"""The embedded development stack behind `make up`: a private PostgreSQL, a small local model,
and the Procfile's processes, started together and stopped together.

Nothing in production imports this package.
"""
