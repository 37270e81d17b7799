# Everything a newcomer needs. Each target makes the virtual environment it runs in; `make` alone lists them.

PYTHON ?=
ARGS ?=
VENV := .venv
# Scripts of a virtual environment carry its absolute path, which may hold spaces; modules do not mind.
PY := $(VENV)/bin/python
MADE_BY := pyproject.toml .ci/environment

.DEFAULT_GOAL := help
.PHONY: help demo test check bench matrix wheel-test clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile

demo: $(VENV)/.demo ## start the sample shop on three frameworks and take a tour (ARGS=--once: leave afterwards)
	@exec $(PY) -m sample_apps.demo $(ARGS)

test: $(VENV)/.test ## the whole test suite on this Python, then `make check` (ARGS: for pytest)
	$(PY) -m pytest -n 2 --dist worksteal $(ARGS)
	@$(MAKE) --no-print-directory check

check: $(VENV)/.test ## ruff, mypy, pyright, import-linter
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m pyright --pythonpath $(PY) --warnings
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo

bench: $(VENV)/.bench ## limits, locks and cache beside their peers (ARGS=--quick: four minutes; --markdown)
	$(PY) -m benchmarks.limits $(ARGS)
	$(PY) -m benchmarks.locks $(ARGS)
	$(PY) -m benchmarks.cache $(ARGS)

matrix: $(VENV)/.test ## the suite on the other Pythons, against the built wheel, and with long property tests
	$(PY) .ci/matrix.py

wheel-test: $(VENV)/.test ## the suite against the built wheel only
	$(PY) .ci/matrix.py --only wheel

clean: ## remove everything that these targets made
	rm -rf $(VENV) .matrix dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.demo: $(MADE_BY)
	@PYTHON="$(PYTHON)" .ci/environment $(VENV) --editable '.[all]' --group demo
	@touch $@

$(VENV)/.test: $(MADE_BY)
	@PYTHON="$(PYTHON)" .ci/environment $(VENV) --editable '.[all]' --group test --group check
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(MADE_BY)
	@PYTHON="$(PYTHON)" .ci/environment $(VENV) --editable '.[embedded,starlette]' --group bench
	@touch $@
