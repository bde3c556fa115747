# `make ship` and `make test` set up all that they need, on a machine with Python 3.11 and Node 20.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
NODES := converters/tfjs/node converters/browser/node
NODE_STAMPS := $(NODES:=/node_modules/.package-lock.json)
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# The index of PyTorch's CPU wheels, where the default index would give a GPU build.
TORCH_INDEX ?=
JOBS ?= 2
# Who builds the zoo: serial, local (needs the extra `cluster`), tcp://host:8786 ...
CLUSTER ?= serial

.PHONY: help ship test quick slow check format setup setup-test browser attack cluster fuzz zoo parity-zoo cards dist constraints clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

ship: setup  ## set up, then build the depth model for iOS and prove it
	$(BIN)/mlship build depth --target ios

test: setup-test  ## set up, then run all tests
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

quick: setup-test  ## the tests that build no net, for the loop while you work
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m quick $(ARGS)

slow: setup-test  ## the tests with thousands of random cases, 3000 random networks, 50 deep ones
	$(BIN)/pytest -n $(JOBS) -m slow $(ARGS)
	$(BIN)/python -m tests.converters.random_networks
	$(BIN)/python -m tests.converters.random_networks.deep

attack: setup-test  ## mutations, faults, kills and concurrent builds, counted in docs/attacks.md (over an hour)
	$(BIN)/python -m tests.attack $(ARGS)

cluster: setup-test  ## sweeps whose workers, scheduler and driver are killed; what jobs cost
	$(BIN)/python -m tests.cluster.kills
	$(BIN)/python -m tests.cluster.simulation
	$(BIN)/python -m tests.cluster.scaling

fuzz: setup-test  ## 10 minutes for each reader of files from outside, guided by coverage (Linux)
	$(BIN)/pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(BIN)/python -m tests.attack.fuzz $(ARGS)

check: setup-test  ## lint, types, import direction
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -p no:cacheprovider tests/test_rooms.py

format:  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

setup: .venv/mlship.stamp $(NODE_STAMPS)

setup-test: .venv/test.stamp $(NODE_STAMPS) browser

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo 'mlship needs Python 3.11: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/mlship.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch==2.13.0)
	$(PIP) -e .
	@touch $@

.venv/test.stamp: .venv/mlship.stamp
	$(PIP) -e '.[test]'
	@touch $@

%/node_modules/.package-lock.json: %/package-lock.json
	@command -v npm >/dev/null || { echo 'the web target needs Node 20 with npm' >&2; exit 2; }
	npm ci --prefix $* --no-audit --no-fund --loglevel=error
	@touch $@

browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo 'the browser tests need Chromium: apt-get install chromium' >&2; exit 2; fi

zoo: setup  ## build every model for every target, remake the README's table
	$(BIN)/mlship matrix --all --recipe fp32 --recipe fp16 --out dist/zoo --cluster $(CLUSTER)
	$(BIN)/python -m benchmarks.studies.zoo dist/zoo

parity-zoo: setup-test  ## compare the zoo on every backend, remake the table
	$(BIN)/mlship matrix --all --backend all --out dist/zoo --report dist/zoo/parity --cluster $(CLUSTER)
	$(BIN)/python -m benchmarks.studies.zoo_parity dist/zoo/parity/table.json

cards: setup  ## evaluate the trained models, remake their cards and the table (half an hour)
	$(BIN)/python -m toolchain.evaluation.cards --evaluate

dist: setup-test  ## build the wheel and the sdist, and check both
	rm -rf build dist/*.whl dist/*.tar.gz
	$(BIN)/python -m build --no-isolation --outdir dist .
	MLSHIP_WHEEL=$$(ls $(CURDIR)/dist/*.whl) MLSHIP_SDIST=$$(ls $(CURDIR)/dist/*.tar.gz) \
		$(BIN)/pytest tests/test_wheel.py -m 'slow or not slow'

constraints: setup-test  ## pin what is installed now
	$(BIN)/pip freeze --exclude-editable --exclude atheris | sed -E 's/(\+cpu| @ .*)$$//' > constraints.txt

clean:  ## remove what was installed and built
	rm -rf .venv dist $(NODES:=/node_modules)
