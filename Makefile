# Everything runs from .venv, made from requirements/dev.txt (exact versions, hashes). Nothing here needs root.

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
BROWSER := $(VENV)/.browser
PROMTOOL := $(VENV)/.promtool
JOBS ?= 2
MODES ?= mt rabbitmq kafka sync

.DEFAULT_GOAL := help
.PHONY: help install demo test test-browser chaos chaos-long chaos-archivematica test-modes test-peers test-image lint bench documents lock clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 28

install: $(INSTALLED) ## Make .venv with Perdura and everything it needs

demo: $(INSTALLED) ## Preserve a bag and a harvested record, from upload to tape and access
	@$(VENV)/bin/perdura demo

test: $(INSTALLED) $(BROWSER) $(PROMTOOL) ## Run every test
	@$(PYTHON) -m pytest -n $(JOBS) --dist loadfile

test-browser: $(INSTALLED) $(BROWSER) ## Walk through the pages with a real browser; screenshots in .artefacts
	@$(PYTHON) -m pytest tests/browser

chaos: $(INSTALLED) ## Kill every function at every point, and the engines, in mid-work
	@$(PYTHON) -m pytest tests/chaos -m chaos

chaos-long: $(INSTALLED) ## 1,000 deposits while everything is killed at random; a day of disordered deliveries
	@$(PYTHON) -m pytest tests/chaos/test_long.py -m long -s

chaos-archivematica: $(INSTALLED) ## 1,000 packages through three Archivematicas with faults at random
	@$(PYTHON) -m pytest tests/peers/test_archivematica_driver.py tests/contract/test_preservation.py -m chaos

test-modes: $(INSTALLED) ## Run the end-to-end and chaos tests behind every kind of broker: MODES="mt rabbitmq kafka sync"
	@for mode in $(MODES); do echo "== behind a broker like $$mode"; PERDURA_BROKER_MODE=$$mode \
	    $(PYTHON) -m pytest tests/e2e tests/chaos -m 'not peers and not long' -q || exit 1; done

test-peers: $(INSTALLED) ## Run against other projects' software, where it can be installed
	@$(PYTHON) -m pytest tests -m peers

test-image: $(INSTALLED) ## Build the image with podman and run every function of it as the manifests do
	@$(PYTHON) -m pytest tests/contract/test_container_engine.py -m engine

lint: $(INSTALLED) ## Check style, types and the direction of imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy shared
	@for main in functions/*/main.py; do $(VENV)/bin/mypy $$main --no-error-summary || exit 1; done
	@$(VENV)/bin/lint-imports

bench: $(INSTALLED) ## Measure what the design promises
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(PYTHON) $$script || exit 1; done

documents: $(INSTALLED) ## Write what is generated from the code: events, schemas, settings, commands
	@$(PYTHON) -m perdura.cloudevents.documents .
	@$(PYTHON) -m perdura.settings_page .
	@$(PYTHON) -m perdura.errors_page .
	@$(PYTHON) -m perdura.metrics_page .
	@$(PYTHON) -m perdura.commands_page .
	@$(PYTHON) -m perdura.web.catalogue .

lock: ## Choose versions anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra local --extra fast --extra observability --extra dev \
	    --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --upgrade -q -o requirements/dev.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra observability --constraint requirements/dev.txt \
	    --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --upgrade -q -o requirements/runtime.txt

clean: ## Remove .venv and caches; never what a stack keeps in .perdura
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find shared functions tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements/dev.txt pyproject.toml .ci/venv
	@.ci/venv $(VENV)
	@echo "installing into $(VENV)"
	@$(PYTHON) -m pip install --disable-pip-version-check --quiet --require-hashes -r infra/container/build.txt
	@$(PYTHON) -m pip install --disable-pip-version-check --quiet --require-hashes --no-build-isolation -r requirements/dev.txt
	@$(PYTHON) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@$(PYTHON) -m compileall -q shared functions
	@touch $@

$(BROWSER): .ci/browser | $(INSTALLED)
	@.ci/browser
	@touch $@

$(PROMTOOL): .ci/promtool | $(INSTALLED)
	@.ci/promtool $(VENV)
	@touch $@
