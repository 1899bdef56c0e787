# The fault suite and the latency of a first token; included by the Makefile.
.PHONY: faults test-redis bench-latency

# The log of what this run does goes to the terminal; SEED repeats a run's schedule.
faults: ## break everything under 20 conversations, two minutes: make faults MINUTES=30 SEED=7
	@$(BOOTSTRAP) dev
	@$(BIN)/python -m tests.faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(LAYER),--layer $(LAYER))

# Wants a redis-server, or a valkey-server named by CHATIRE_TEST_REDIS.
test-redis: ## chat, and break Redis under 10 conversations, with live events over Redis
	@$(BOOTSTRAP) dev
	@$(WITH_DATABASE) $(BIN)/python -m pytest --layer redis tests/acceptance/test_chatting.py
	@$(BIN)/python -m tests.faults --layer redis --only Redis "ws SIGKILL" --rooms 10 --minutes 0.3 \
		$(if $(SEED),--seed $(SEED))

bench-latency: ## measure from POST to the first delta, idle and with 100 replies streaming
	@$(BOOTSTRAP) dev
	@$(BIN)/python -m tests.faults.latency $(ARGS)
