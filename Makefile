# What one does with a checkout. Everything installs itself; nothing needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A Node.js that came as a wheel lives there too.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1

BOOTSTRAP := $(PYTHON) chatire/stack/bootstrap.py
# Runs a command with DATABASE_URL set: yours, or an embedded PostgreSQL.
WITH_DATABASE := $(BIN)/python -m chatire.stack.testing
MANAGE := DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py
PINNED := requirements requirements-embedded requirements-dev requirements-node
# Tests wait more than they compute; files stay whole, so that each stack is started once.
TEST_PROCESSES ?= 2
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--no-header --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: bench help up wheel manage test check check-python check-django check-requirements check-frontend \
	format schema requirements clean reset

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## install, build, migrate and run everything, here
	@$(BOOTSTRAP) frontend
	@exec $(BIN)/python -m chatire.stack up

manage: ## run a manage.py command in the running stack: make manage ARGS=createsuperuser
	@exec $(BIN)/python -m chatire.stack run $(BIN)/python manage.py $(ARGS)

test: ## run the tests on an embedded PostgreSQL (or DATABASE_URL): make test ARGS="-k socket"
	@$(BOOTSTRAP) dev frontend
	@$(WITH_DATABASE) $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadscope $(ARGS)

check: check-python check-django check-requirements check-frontend ## format, lint, types, generated files

check-python:
	@$(BOOTSTRAP) dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@if [ -f tests/test_imports.py ]; then \
		$(WITH_DATABASE) $(BIN)/python -m pytest -q tests/test_imports.py; fi

check-django:
	@$(BOOTSTRAP) dev
	$(WITH_DATABASE) env DJANGO_SETTINGS_MODULE=tests.settings \
		$(BIN)/python manage.py makemigrations --check --dry-run
	@mkdir -p .chatire
	@echo "Validating the OpenAPI document and comparing frontend/openapi.json with it"
	@$(MANAGE) spectacular --format openapi-json --validate --fail-on-warn \
		--file .chatire/openapi.json
	@diff -u frontend/openapi.json .chatire/openapi.json > .chatire/openapi.diff || { \
		head -40 .chatire/openapi.diff; \
		echo "frontend/openapi.json is out of date: make schema"; exit 1; }
	@echo "Comparing frontend/asyncapi.json and the tables of docs/protocol.md with the protocol"
	@$(MANAGE) asyncapi --file .chatire/asyncapi.json
	@cp docs/protocol.md .chatire/protocol.md && $(MANAGE) asyncapi --tables .chatire/protocol.md
	@diff -u frontend/asyncapi.json .chatire/asyncapi.json && \
		diff -u docs/protocol.md .chatire/protocol.md || { \
		echo "What follows from protocol/ is out of date: make schema"; exit 1; }

# Existing pins are kept where they still satisfy the .in file, so this fails only if they do not.
check-requirements:
	@$(BOOTSTRAP) dev
	@mkdir -p .chatire
	@for name in $(PINNED); do \
		echo "Comparing $$name.txt with $$name.in"; \
		cp $$name.txt .chatire/compiled.txt && \
		$(COMPILE) $$name.in -o .chatire/compiled.txt && \
		diff -u $$name.txt .chatire/compiled.txt || { \
		echo "$$name.txt is out of date: make requirements"; exit 1; }; done

check-frontend:
	@$(BOOTSTRAP) frontend
	@mkdir -p .chatire
	@echo "Comparing the client's types with the documents they are made of"
	@cd frontend && node scripts/types.mjs ../.chatire
	@for types in schema.d.ts frames.d.ts; do \
		diff -u frontend/src/client/$$types .chatire/$$types > .chatire/types.diff || { \
		head -40 .chatire/types.diff; \
		echo "frontend/src/client/$$types is out of date: make schema"; exit 1; }; done
	@cd frontend && npm run --silent typecheck && npm run --silent lint && npm run --silent test

format: ## format the code
	@$(BOOTSTRAP) dev
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	@if [ -d frontend/node_modules ]; then cd frontend && npm run --silent format; fi

schema: ## write the API's documents, the tables of docs/protocol.md and the client's types
	@$(BOOTSTRAP) dev frontend
	$(MANAGE) spectacular --format openapi-json --validate --fail-on-warn \
		--file frontend/openapi.json
	$(MANAGE) asyncapi --file frontend/asyncapi.json
	$(MANAGE) asyncapi --tables docs/protocol.md
	@cd frontend && npm run --silent gen

wheel: ## build the channel layer's wheel into dist/
	@$(BOOTSTRAP) dev
	@$(BIN)/uv build --wheel channels_pgnotify --out-dir dist

requirements: ## pin the requirements*.in anew (ARGS=--upgrade for newer versions)
	@$(BOOTSTRAP) dev
	@for name in $(PINNED); do $(COMPILE) $(ARGS) $$name.in -o $$name.txt || exit 1; done

clean: ## delete what is built or cached; keeps the demo data
	@rm -rf $(VENV) frontend/node_modules frontend/dist staticfiles dist \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

reset: ## delete the demo data and the test database
	@$(BOOTSTRAP)
	@$(BIN)/python -m chatire.stack reset

bench: bench-layer bench-latency bench-stops ## measure: the channel layer against peers, the first token, stops

# The parts of `make bench`, `make faults` and `make mutants` come with what they do.
-include bench/bench.mk tests/faults/faults.mk tests/mutants/mutants.mk
