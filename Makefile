.POSIX:
.PHONY: help install run test bench check audit fuzz clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

install: ## Virtual environment and packages; does only what is not done yet
	@./scripts/setup.sh

run: ## Install, prepare the database, serve with demo events on port 8001 (DEMO=0: without)
	@exec ./scripts/run.sh

test: ## Install what tests need, then run all checks and all tests
	@./scripts/test.sh

bench: ## Measure the server beside its peers, and write docs/performance.md (BENCH_ARGS: see bench/README.md)
	@exec ./scripts/bench.sh $(BENCH_ARGS)

check: ## Style, types and the direction of imports
	@./scripts/setup.sh dev
	@./scripts/check.sh

audit: ## Known vulnerabilities of the pinned packages (asks PyPI and npm)
	@./scripts/setup.sh dev
	@./scripts/audit.sh

fuzz: ## Fuzz everything that reads what strangers send, FUZZ_SECONDS (600) in all
	@./scripts/setup.sh dev
	@ENV_FILE= .venv/bin/python -m fuzz all --seconds $${FUZZ_SECONDS:-600}

clean: ## Remove what install and tests made; the database stays
	@rm -rf .venv node_modules staticfiles .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis bench/build bench/node_modules
