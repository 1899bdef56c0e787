# Mutation testing; included by the Makefile.
.PHONY: mutants

mutants: ## put faults into the code and see which no test notices: make mutants SAMPLE=300 SEED=1 SINCE=main
	@$(BOOTSTRAP) dev frontend
	@$(WITH_DATABASE) $(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE)) \
		$(if $(SEED),--seed $(SEED)) $(if $(SINCE),--since $(SINCE)) $(ARGS)
