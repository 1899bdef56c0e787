# The channel layer's benchmark, and the tests it borrows; included by the Makefile.
.PHONY: bench-capacity bench-costs bench-edge bench-fanout bench-layer bench-reactions bench-stops \
	borrowed-tests borrowed-layer borrowed-notifs

bench-layer: ## compare the channel layer with channels_postgres and channels_redis, ten minutes
	@$(BOOTSTRAP) dev
	$(BIN)/python -m bench.layer $(ARGS)

# Socket.IO wants a Node.js, which may come with the page's.
bench-edge: ## compare many sockets with Socket.IO and nchan, at most 25 minutes; ARGS=--quick: 3
	@$(BOOTSTRAP) dev frontend
	$(BIN)/python -m bench.edge $(ARGS)

bench-costs: ## measure what streaming replies cost the database, three minutes
	@$(BOOTSTRAP) dev
	$(BIN)/python -m bench.costs

bench-fanout: ## measure a message's way to a thousand sockets, and what they weigh, three minutes
	@$(BOOTSTRAP) dev
	$(BIN)/python -m bench.fanout $(ARGS)

bench-capacity: ## count what a core carries: the processor time of one of everything, two minutes
	@$(BOOTSTRAP) dev
	$(BIN)/python -m bench.capacity

bench-reactions: ## measure ten thousand reactions to one message, and who writes meanwhile, a minute
	@$(BOOTSTRAP) dev
	$(BIN)/python -m bench.reactions $(ARGS)

bench-stops: ## measure how long a stop takes to reach the model's connection, a minute
	@$(BOOTSTRAP) dev
	$(BIN)/python -m bench.stops $(ARGS)

borrowed-tests: borrowed-layer borrowed-notifs ## other projects' tests, on what is like theirs here

borrowed-layer: ## try the layer's wheel: in a project of its own, and with other layers' tests
	@$(BOOTSTRAP) dev
	$(BIN)/python -m tests.channels_pgnotify.borrowed $(ARGS)

borrowed-notifs: ## try django-notifs' tests on our notifications
	@$(BOOTSTRAP) dev
	$(WITH_DATABASE) $(BIN)/python -m tests.notifications.borrowed $(ARGS)
