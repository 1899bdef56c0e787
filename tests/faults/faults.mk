# The fault suite and the latency of a first token; included by the Makefile.
.PHONY: faults bench-latency

# The log of what this run does goes to the terminal; SEED repeats a run's schedule.
faults: ## break everything under 20 conversations, two minutes: make faults MINUTES=30 SEED=7
	@$(BOOTSTRAP) dev
	@$(BIN)/python -m tests.faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

bench-latency: ## measure from POST to the first delta, idle and with 100 replies streaming
	@$(BOOTSTRAP) dev
	@$(BIN)/python -m tests.faults.latency $(ARGS)
