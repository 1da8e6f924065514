# make demo: set up, render a class, fit, evaluate, report.   make test: set up, run every default test and the linters.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLASS := out/data/flat_connector

.PHONY: demo test slow lint bench clean help

help:
	@echo "make demo   render a class, fit an ensemble, evaluate it, write a report (a few minutes after installation)"
	@echo "make test   run the default tests and the linters"
	@echo "make slow   run the slow tests, too"
	@echo "make lint   ruff, mypy, import-linter"
	@echo "make bench  run the benchmarks"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, $(PYTHON) is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --no-compile -e '.[dev]' -c constraints.txt
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # pip would do it with one core
	@touch $@

demo: $(READY)
	@test -d $(CLASS) || $(BIN)/ensemble-ad data render flat_connector out/data --count 120 30 40 36 36
	$(BIN)/ensemble-ad run --data $(CLASS)

test: $(READY) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile --durations=10

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	for name in backbone coreset fusion spro; do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) out build *.egg-info
