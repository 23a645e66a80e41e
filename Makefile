# make demo    makes .venv, installs AgentPay, and runs its main job
# make test    the same environment, then every check: lint, types, imports, the wheel, the tests
#
# make test-live           against anvil, a real Ethereum node for tests; needs Node with npm
# make test-localstripe    the Stripe provider against localstripe, in an environment of its own
# make test-langchain      the LangChain tests with the oldest and with the newest LangChain that installs
# make soak, make mutants, make bench    longer proofs: crashes at random, deliberate faults, what a decision costs
#
# Needs Python 3.11 or later with venv, and make. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
# One more than two cores: tests also wait, for processes, locks and disks.
WORKERS ?= 3
LOCALSTRIPE := localstripe==1.15.10

BIN := .venv/bin
WHEEL_BIN := .venv-wheel/bin
PACKED := $(shell find agentpay policies tools servers -type f -not -path '*/__pycache__/*')

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without bytecode on disk each of the thousand processes of the tests would compile everything anew.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-live lint format imports types wheel pytest
.PHONY: test-langchain test-localstripe mutants bench soak clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: .venv/.installed
	$(BIN)/agentpay demo

# What needs one core each goes two at a time.
test: .venv/.dev
	@$(MAKE) --no-print-directory -j2 lint types imports wheel
	@$(MAKE) --no-print-directory pytest

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev
	$(BIN)/mypy

imports: .venv/.dev
	$(BIN)/lint-imports

pytest: .venv/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS)

wheel: .venv-wheel/.installed
	$(WHEEL_BIN)/python -I tests/acceptance/wheel/check_wheel.py

# Prints NOT RUN where Node or anvil cannot be had; where CI is set, that is a failure.
test-live: .venv/.dev
	$(BIN)/python tests/live/run.py

# Not part of make test, which runs with the pinned versions. The other ones are put before those in .venv; the newest
# is whatever the index gives.
LANGCHAIN_TESTS := tests/acceptance/langchain tests/acceptance/agents tests/acceptance/parity
test-langchain: .venv/.dev
	rm -rf .venv/langchain-oldest .venv/langchain-newest
	$(BIN)/pip install -qq --no-deps --target .venv/langchain-oldest 'langchain-core==1.7.0' 'langchain==1.4.7'
	PYTHONPATH=.venv/langchain-oldest LANGCHAIN_CORE=1.7.0 $(BIN)/python -m pytest -q -n $(WORKERS) $(LANGCHAIN_TESTS)
	$(BIN)/pip install -qq --target .venv/langchain-newest 'langchain-core>=1.7,<2' 'langchain>=1.4.7,<2'
	PYTHONPATH=.venv/langchain-newest $(BIN)/python -m pytest -q -n $(WORKERS) $(LANGCHAIN_TESTS)

# What a decision costs after 10, 10 thousand and a million payments.
bench: .venv/.dev
	PYTHONPATH=tests $(BIN)/python -m benchmarks.authorize

# Deliberate faults of the policy language and the gate, each of which must make a test fail.
mutants: .venv/.dev
	PYTHONPATH=tests $(BIN)/python -m mutants

# The whole crash matrix, and random runs with kills, on both databases: an hour. Shorter: make soak SOAK="--runs 2"
soak: .venv/.dev
	PYTHONPATH=tests $(BIN)/python -m soak $(SOAK)

# A Stripe that nobody here wrote. Where its environment cannot be had, this says NOT RUN and is no failure.
test-localstripe: .venv/.dev
	@if $(MAKE) -s .venv-localstripe/.installed; then \
	  AGENTPAY_LOCALSTRIPE=$(CURDIR)/.venv-localstripe/bin/python $(BIN)/python -m pytest -q tests/acceptance/localstripe; \
	else echo "localstripe NOT RUN: its environment could not be made."; fi

.venv-localstripe/.installed: .venv/.made
	@$(BIN)/python -m venv .venv-localstripe && .venv-localstripe/bin/pip install -qq $(LOCALSTRIPE)
	@touch $@

clean:
	rm -rf .venv .venv-wheel .venv-localstripe .live dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# The stamps below say what is installed; a change of what they depend on installs again.

.venv/.made:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "AgentPay needs Python 3.11 or later with venv and ensurepip (on Debian: apt-get install python3-venv); $(PYTHON) is not that. Name another one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

# hatchling first, and pinned: without build isolation nothing unpinned is fetched to build with.
.venv/.installed: .venv/.made pyproject.toml constraints.txt
	$(BIN)/pip install -qq -c constraints.txt hatchling
	$(BIN)/pip install -qq -c constraints.txt --no-build-isolation -e .
	@touch $@

# All at once, and not after .venv/.installed: one resolution less.
.venv/.dev: .venv/.made pyproject.toml constraints.txt
	$(BIN)/pip install -qq -c constraints.txt hatchling
	$(BIN)/pip install -qq -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch .venv/.installed $@

dist/.built: .venv/.dev pyproject.toml README.md LICENSE $(PACKED)
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist . > .venv/build.log 2>&1 || { cat .venv/build.log; exit 1; }
	@touch $@

.venv-wheel/.made: .venv/.made
	$(BIN)/python -m venv .venv-wheel
	@touch $@

.venv-wheel/.installed: .venv-wheel/.made dist/.built constraints.txt
	$(WHEEL_BIN)/pip uninstall -qq -y agentpay-engine
	$(WHEEL_BIN)/pip install -qq -c constraints.txt dist/*.whl
	@touch $@
