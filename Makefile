# NormViz. `make run` starts the app, `make test` runs the checks and tests, `make test-all` the slow ones too.
PYTHON ?= python3
PORT ?= 8501
BIN = .venv/bin
WORKERS ?= auto
MARKERS = not slow

.PHONY: run test test-all environments lint-js docs bench clean

run: .venv/app.stamp
	$(BIN)/python -m normviz app --port $(PORT)

test: .venv/dev.stamp
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -n $(WORKERS) -m "$(MARKERS)" $(ARGS)

test-all: MARKERS =
test-all: test

environments: .venv/dev.stamp
	$(BIN)/python -m scripts.check_environments

lint-js: node_modules/.package-lock.json
	npm run --silent lint

docs: .venv/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

bench: .venv/dev.stamp
	$(BIN)/python -m scripts.benchmark

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache node_modules site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "NormViz needs Python 3.11 or newer as '$(PYTHON)'; install it, or name another: make PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "This Python cannot make a virtual environment; on Debian: sudo apt-get install python3-venv" >&2; \
	  rm -rf .venv; exit 1; }

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-fund --no-audit

.venv/app.stamp: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ .venv/app.stamp
