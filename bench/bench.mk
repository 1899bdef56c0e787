# The channel layer's benchmark and the tests it borrows; included by the Makefile.
.PHONY: bench-layer borrowed-tests

bench-layer: ## Compare the channel layer with channels_postgres and channels_redis
	.venv/bin/python -m bench.layer

borrowed-tests: ## Run the layer tests of channels_redis and channels_postgres against ours
	.venv/bin/python -m tests.layers.borrowed
