# Everything a developer runs. A machine needs Python 3.11 or newer (with venv and pip), git and make; each target
# does its own set-up, in .venv and node_modules, and is quick the second time.
#
#   make test PYTHON=python3.13     another interpreter
#   make test ARGS='-k batching'    arguments for pytest
#   make test JOBS=1                one test after the other
#   make test-all ARGS=tests/cli    a folder, with those of its tests that `make test` leaves out

PYTHON ?= python3
ARGS ?=
# One process more than there are cores: each waits a third of its time, for other processes or for a time to pass.
JOBS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# A file's tests share what they start, so a file stays in one process; tests/selection.toml says which begin.
PYTEST := -n $(JOBS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations=10 --durations-min=1
VENV := .venv
MIN_VENV := .venv-min
BIN := $(CURDIR)/$(VENV)/bin
# Named after the interpreter, so that another PYTHON= makes another environment.
INSTALLED := $(VENV)/.installed-$(subst /,-,$(PYTHON))
MIN_INSTALLED := $(MIN_VENV)/.installed-$(subst /,-,$(PYTHON))
TOOLS := node_modules/.installed

# The Node of the wheel must win over any Node of the machine: jsii prints a banner on an old one.
export PATH := $(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export CDK_DISABLE_VERSION_CHECK := 1
export CDK_DISABLE_CLI_TELEMETRY := true
# Each process of the tests reads all their files: compiled and rewritten once, they are read in half the time.
export PYTHONDONTWRITEBYTECODE :=

NPM_INSTALL := npm install --no-package-lock --no-audit --no-fund --no-update-notifier --loglevel=error

.DEFAULT_GOAL := help
.PHONY: help setup demo synth test test-all test-min test-wheel snapshots docs release recording bench lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) $(TOOLS) ## install everything into .venv and node_modules

demo: setup ## run two pipelines on this machine, from synthesis to ledger (a minute)
	python examples/demo.py

synth: setup ## synthesize the example app with the CDK CLI, into cdk.out
	cdk synth --quiet

test: setup ## run the tests but the slow ones, in some minutes (ARGS= for pytest)
	pytest $(PYTEST) -m "not slow" $(ARGS)

test-all: setup ## run all tests
	pytest $(PYTEST) $(ARGS)

test-min: $(MIN_INSTALLED) $(TOOLS) ## run what can differ on the oldest aws-cdk-lib and constructs that pyproject.toml allows
	PATH="$(CURDIR)/$(MIN_VENV)/bin:$$PATH" $(MIN_VENV)/bin/python -m pytest $(PYTEST) -m "oldest_cdk and not newer_cdk" $(ARGS)

test-wheel: $(INSTALLED) ## run what can differ on the built wheel, with the sources out of reach
	$(BIN)/python .ci/test_wheel.py $(PYTEST) $(ARGS)

snapshots: setup ## write the snapshots anew; review them with git diff
	pytest --snapshot-update tests/construct $(ARGS)

docs: setup ## write what documents have from the code anew, and build the site into site/
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/schemas.py
	$(BIN)/python docs/error_catalogue.py
	$(BIN)/python docs/build_site.py

release: setup ## make a release here: changelog, commit, signed tag, dist/ (VERSION=0.2.0)
	$(BIN)/python .ci/release.py $(VERSION)

recording: $(INSTALLED) ## record the terminal session of docs/cli.md anew
	$(BIN)/python docs/record.py

bench: $(INSTALLED) ## measure beside baselines: Lambda side, bundling, client, local functions (some ten minutes)
	$(BIN)/python benchmarks/capture.py --full
	$(BIN)/python benchmarks/process.py
	$(BIN)/python benchmarks/combine.py
	$(BIN)/python benchmarks/account.py
	$(BIN)/python benchmarks/bundling.py
	$(BIN)/python benchmarks/results.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/local_functions.py
	$(BIN)/python benchmarks/local.py

lint: $(INSTALLED) ## ruff and mypy --strict
	ruff check .
	ruff format --check .
	mypy

format: $(INSTALLED) ## let ruff format the code and repair what it can
	ruff check --fix .
	ruff format .

clean: ## remove all that the other targets made
	rm -rf $(VENV) $(MIN_VENV) node_modules cdk.out dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@echo "==> installing the package and its tools into $(VENV) (a minute the first time)"
	@$(PYTHON) .ci/venv.py $(VENV)
	$(BIN)/python -m pip install --editable '.[dev]'
	@rm -rf .mypy_cache # it remembers what was missing
	@touch $@

$(MIN_INSTALLED): pyproject.toml $(INSTALLED)
	@echo "==> installing the oldest supported aws-cdk-lib into $(MIN_VENV) (a minute the first time)"
	@$(PYTHON) .ci/venv.py $(MIN_VENV)
# Most of it is never loaded there; what is gets compiled then.
	$(MIN_VENV)/bin/python -m pip install --no-compile --editable '.[node,test]' $$($(BIN)/python .ci/minimum.py)
	@touch $@

$(TOOLS): package.json $(INSTALLED)
	@echo "==> installing the CDK CLI and the validators of state machines into node_modules"
	$(NPM_INSTALL)
	@touch $@
