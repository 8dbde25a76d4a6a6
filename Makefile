# `make quickstart` and `make test` need nothing but Python 3.10 or newer and make; the rest is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt
PINS := pyproject.toml constraints.txt

.PHONY: help quickstart test test-all check format docs snapshots clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

quickstart: $(VENV)/.installed ## fine-tune the bundled model on bundled data, and show before and after
	$(BIN)/burnish quickstart

# One thread a worker: two workers share two cores, and threads of theirs would only wait for each other. A worker that
# has finished takes tests from the other, since the slow ones stand together. Bytecode is kept even where the shell says
# otherwise: each worker would compile 400 files of tests for ten seconds, and each command of a test the package again.
TEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE= \
    $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(VENV)/.installed-dev ## run the tests: every rule, every message, every task with every method
	$(TEST) -m "not slow"

test-all: $(VENV)/.installed-dev ## run the cross products, too
	$(TEST)

check: $(VENV)/.installed-dev ## lint, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev ## put the code into its standard form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed-dev ## write the options page, the glossary, the page on checking, the schemas and the snapshots of --help
	$(BIN)/python -m burnish.recipe.reference
	$(BIN)/python -m burnish.glossary
	$(BIN)/python -m burnish.check.finding
	$(BIN)/python -m burnish.cli.schemas
	$(BIN)/python tests/contract/test_help.py

snapshots: $(VENV)/.installed-dev ## rewrite the wording that tests compare with
	rm -rf tests/snapshots
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 BURNISH_SNAPSHOTS=write \
	    $(BIN)/python -m pytest -q -n 2 $$(grep -rlE "check_snapshot|check_message|check_text|bad_case" tests --include='test_*.py')

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first and alone: the exact version lets pip take a CPU build where one is at hand.
$(VENV)/.installed: $(PINS) | $(VENV)/.made
	$(PIP) torch
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(PINS) | $(VENV)/.made
	$(PIP) torch
	$(PIP) -e ".[dev]"
	@touch $(VENV)/.installed $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "Burnish needs Python 3.10 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@touch $@
