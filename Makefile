# Sets everything up in .venv, then does what is asked. What is there already is not set up again; a changed
# pyproject.toml is installed anew.

# Any Python from 3.11 on.
PYTHON ?= python3

# What pip installs for PyTorch: one fixed version, before everything else, so that nothing later brings another build.
# On Linux the builds of PyPI come with gigabytes of CUDA libraries. On a machine without a GPU they are not needed:
#   make demo TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
# Any build from 2.11 on will do, such as the newest: make demo TORCH=torch
TORCH ?= torch==2.13.0

DEMO ?=
TESTS ?= -ra --numprocesses auto --dist worksteal
BENCH ?=

VENV := .venv
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip --disable-pip-version-check
# A stamp for each step of the set-up; another TORCH is another stamp.
HAS_VENV := $(VENV)/.has-venv
HAS_TORCH := $(VENV)/.has-torch-$(shell printf '%s' "$(TORCH)" | cksum | cut -d ' ' -f 1)
HAS_BRAINLM := $(VENV)/.has-brainlm
HAS_DEV := $(VENV)/.has-dev

.DEFAULT_GOAL := help
.PHONY: help demo test lint wheel bench clean

help: ## what can be made
	@awk -F ' ## ' '/^[a-z]+:.* ## / { sub(/:.*/, "", $$1); printf "  make %-6s %s\n", $$1, $$2 }' Makefile

demo: $(HAS_BRAINLM) ## set up, then every verb once on open recordings, ending in a report (again: DEMO=--overwrite)
	$(VENV)/bin/brainlm demo $(DEMO)

test: $(HAS_DEV) lint ## set up, then all checks and all tests (only the fast ones: TESTS='-m "not slow"')
	$(RUN) pytest $(TESTS)

lint: $(HAS_DEV) ## set up, then style, formatting, types and import directions
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports

# Not .venv: an environment of its own, which never had an extra.
wheel: $(HAS_VENV) ## build the wheel (dist/) and try it, without extras, in an empty environment
	rm -rf dist build
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip --disable-pip-version-check install --quiet $(TORCH)
	build/wheel/bin/python -m pip --disable-pip-version-check install --quiet dist/*.whl
	build/wheel/bin/python tests/try_wheel.py

bench: $(HAS_BRAINLM) ## set up, then measure how fast this machine reads, trains and embeds
	$(VENV)/bin/brainlm bench $(BENCH)

clean: ## remove the set-up and the caches; what was computed (demo/, runs/) stays
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(HAS_VENV):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("brainlm needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(HAS_TORCH): $(HAS_VENV)
	@echo "installing $(TORCH) into $(VENV) (once; minutes)"
	$(PIP) install --quiet --upgrade $(TORCH)
	@rm -f $(VENV)/.has-torch-*
	@touch $@

$(HAS_BRAINLM): pyproject.toml $(HAS_TORCH)
	@echo "installing brainlm and what it needs (once)"
	$(PIP) install --quiet --editable .
	@touch $@

$(HAS_DEV): pyproject.toml $(HAS_TORCH)
	@echo "installing brainlm, what it needs and what its tests need (once)"
	$(PIP) install --quiet --editable '.[dev]'
	@touch $@ $(HAS_BRAINLM)
