# voltd: `make demo` shows the main job, `make test` runs every test. Both set themselves up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK   := requirements-dev.txt
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Each worker of pytest reads every test file, and what one of them has compiled serves the others.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup lock demo test test-quick coverage torture lint bench bench-quick bench-analytics bench-decode fuzz mixed clean help

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+: +##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## ?/\t/' | expand -t 17

setup: $(STAMP)  ## .venv with voltd and what its tests need

$(STAMP): pyproject.toml $(LOCK)
	@command -v $(PYTHON) >/dev/null || { echo "voltd needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "voltd needs Python 3.11 or newer, $(PYTHON) is older; set PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up $(VENV) (once; about half a minute)"
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: on Debian, apt install python3-venv"; exit 1; }
	@$(PIP) --require-hashes --requirement $(LOCK)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

lock: setup      ## pins the newest allowed versions of what setup installs, with their hashes
	@$(PIP) uv
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command "make lock" --quiet --output-file $(LOCK)

demo: setup      ## fleet -> broker -> daemon -> database, live; DEMO_ARGS="--for 45 --summary FILE"
	@$(BIN)/voltd demo $(DEMO_ARGS)

test: setup      ## every test, with real servers; TEST_ARGS="-k replay"
	@$(BIN)/python -m pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

test-quick: setup  ## unit tests, and the contract tests on the fakes, under half a minute
	@$(BIN)/python -m pytest --numprocesses 2 -m "not servers and not slow" tests/unit tests/contract $(TEST_ARGS)

coverage: setup  ## every test, and the lines of voltd/ that none has run; TEST_ARGS="tests/unit tests/contract"
	@rm -f .coverage .coverage.*
	@-$(BIN)/python -m coverage run -m pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)
	@$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report

torture: setup   ## random faults while publishing; MINUTES=60 SEED=7 (and STEP=12 for one step of it)
	@$(BIN)/python tests/faults/torture.py --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(STEP),--step $(STEP))

lint: setup      ## ruff and mypy --strict
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: setup     ## measures this machine, about 15 minutes; BENCH_ARGS="--history 100000000"
	@$(BIN)/python bench/run.py $(BENCH_ARGS)

bench-quick: setup  ## the same in small, under two minutes
	@$(BIN)/python bench/run.py --quick $(BENCH_ARGS)

bench-analytics: setup  ## times the analysts' queries on 100 million readings, over an hour; BENCH_ARGS="--quick"
	@$(BIN)/python bench/analytics.py $(BENCH_ARGS)

bench-decode: setup  ## CPU time of decoding one message, of voltd's own format and of device families
	@$(BIN)/python bench/decode.py
	@$(BIN)/python bench/sparkplug.py

fuzz: setup      ## poison from bytes to rows on a private database; INPUTS=1000000 SEED=7
	@nice -n 10 $(BIN)/python tests/fuzz/run.py $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED)) $(FUZZ_ARGS)

mixed: setup     ## a mixed fleet beside the same in voltd's own format, every figure compared; DEVICES=2000 MINUTES=30
	@$(BIN)/python tests/mixed/run.py $(if $(DEVICES),--devices $(DEVICES)) $(if $(MINUTES),--minutes $(MINUTES)) $(MIXED_ARGS)

clean:           ## removes the environment, not the servers' cache
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
