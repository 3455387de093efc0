# Exchequer: the commands that people and CI type. `make up` starts it, `make check test` proves a change.
#
# PYTHON makes the virtual environment (>= 3.11). PY=/path/to/python uses an interpreter that has everything instead.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --no-input -q
# A long step says each 8 seconds that it is at work: silence looks like a hang.
define PATIENTLY
patiently() { local begun=$$SECONDS rc=0; "$$@" & local it=$$!; trap "kill $$it 2>/dev/null" INT TERM; \
	while kill -0 $$it 2>/dev/null; do for _ in 1 2 3 4 5 6 7 8; do sleep 1; kill -0 $$it 2>/dev/null || break 2; done; \
	echo "      still running ($$((SECONDS - begun)) s)"; done; wait $$it || rc=$$?; return $$rc; }
endef

# FOCUS's validator has an environment of its own; 3.12 comes first, because its numpy has no wheels for later ones.
FOCUS := .venv-focus
FOCUS_PYTHON ?=

NOT_INSTALLED := echo "pip reports above what it could not install. Check that the package index is reachable and the disk is not full, then run the command again."; exit 1

ifdef PY
READY :=
else
PY := $(VENV)/bin/python
READY := $(STAMP)
endif

# What `make bench` compares with has an environment of its own; BENCH_PEERS=/path/to/python uses another.
PEERS := .venv-peers
ifdef BENCH_PEERS
PEERS_READY :=
else
BENCH_PEERS := $(PEERS)/bin/python
PEERS_READY := $(PEERS)/.installed
endif

# Static checks import the settings and reach nothing: no server stands behind these values.
STATIC := env SECRET_KEY=checked-without-any-server-or-secret EXCHEQUER_HOME=/nonexistent \
	DATABASE_URL='postgresql:///none?host=/nonexistent' DATABASE_CONTROL_URL='postgresql:///none?host=/nonexistent' \
	DATABASE_OWNER_URL='postgresql:///none?host=/nonexistent' PYTHONWARNINGS=ignore
CONSOLE := $(STATIC) EXCHEQUER_DB_ROLE=operator DATABASE_OPERATOR_URL='postgresql:///none?host=/nonexistent' \
	EXCHEQUER_OPERATOR_SECRET_KEY=checked-without-any-server-or-secret

# The folders of `make test-quick`, and the permissions of every route.
QUICK := tests/architecture tests/unit tests/integration tests/api/test_matrix.py

.PHONY: help venv up doctor test test-quick test-focus test-gpu test-nightly check check-style check-types check-django check-docs docs locks openapi bench clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

venv: $(READY) ## create .venv with the pinned packages

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "[1/4] virtual environment in $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "[2/4] PyTorch (the largest part: 0.2 GB for the CPU build, 3 GB with CUDA)"
	@$(PATIENTLY); patiently $(PIP) -c constraints.txt setuptools $(TORCH) || { $(NOT_INSTALLED); }
	@echo "[3/4] Exchequer's dependencies, pinned by constraints.txt"
	@$(PATIENTLY); patiently $(PIP) -c constraints.txt --no-build-isolation -e '.[worker,local,dev]' || { $(NOT_INSTALLED); }
	@echo "[4/4] done"
	@touch $(STAMP)

up: $(READY) ## start everything on this machine; Ctrl-C stops it
	@exec $(PY) -m deploy.local

doctor: $(READY) ## check this installation; print one line per problem
	@$(PY) manage.py doctor

test-quick: $(READY) ## tests without store, broker, processes and browser
	@$(PY) -m pytest -n 2 -m "not nightly and not services" $(QUICK)

test: $(READY) ## the whole suite, browser included
	@export CHROMIUM="$$($(PY) -m deploy.chromium)" && $(PY) -m pytest -n 2 -m "not nightly"

test-focus: $(READY) $(FOCUS)/.installed ## the FOCUS export against the official validator, which needs Python >= 3.12
	@FOCUS_PYTHON=$(abspath $(FOCUS))/bin/python $(PY) -m pytest -n 0 tests/integration/billing/exports/official.py

test-gpu: $(READY) ## what only a GPU can prove, in under five minutes; exits 3 where there is none
	@$(PY) -m tests.gpu

test-nightly: $(READY) ## the whole suite and the long fault, load and fuzz tests
	@export CHROMIUM="$$($(PY) -m deploy.chromium)" && NIGHTLY=1 $(PY) -m pytest -n 2

check: $(READY) ## style, types, imports, migrations, templates, OpenAPI, documents
	@$(MAKE) -j 2 -O PY=$(PY) check-types check-style check-django check-docs

check-style:
	@echo "ruff" && $(PY) -m ruff check . && $(PY) -m ruff format --check .
	@echo "imports" && $(dir $(PY))lint-imports --no-logo
	@echo "templates" && $(PY) -m djlint templates --lint --quiet

check-types:
	@echo "mypy" && $(STATIC) $(PY) -m mypy

check-django:
	@echo "system checks, linear migrations" && $(STATIC) $(PY) manage.py check --fail-level WARNING
	@echo "migrations are complete" && $(STATIC) $(PY) manage.py makemigrations --check --dry-run
	@echo "docs/openapi.yaml is current" && $(STATIC) $(PY) manage.py spectacular --validate --fail-on-warn | diff -u docs/openapi.yaml - \
		|| { echo "the API changed: make openapi"; exit 1; }
	@echo "the console: system checks, docs/openapi-operator.yaml is current" && $(CONSOLE) $(PY) manage.py check --fail-level WARNING \
		&& $(CONSOLE) $(PY) manage.py spectacular --validate --fail-on-warn | diff -u docs/openapi-operator.yaml - \
		|| { echo "the console's API changed: make openapi"; exit 1; }

check-docs:
	@echo "documents" && $(PY) -m scripts.site

docs: $(READY) check-docs ## build the documents as a site
	@echo "build/site/index.html"

locks: $(READY) ## write the packages of the container images with their hashes
	@$(PY) -m uv --version >/dev/null 2>&1 || { echo "uv is needed: $(PY) -m pip install uv"; exit 1; }
	@for one in reading:web worker:worker; do $(PY) -m uv pip compile -q pyproject.toml -c constraints.txt --extra "$${one%:*}" --generate-hashes \
		--python-version 3.11 --python-platform x86_64-manylinux_2_28 --only-binary :all: --no-annotate --no-header -o "deploy/docker/requirements-$${one#*:}.txt"; done

openapi: $(READY) ## generate docs/openapi.yaml and docs/openapi-operator.yaml
	@$(STATIC) $(PY) manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml
	@$(CONSOLE) $(PY) manage.py spectacular --validate --fail-on-warn --file docs/openapi-operator.yaml

bench: $(READY) $(PEERS_READY) ## run the benchmarks; ONLY=G-b3 runs one, SHARE=1 all of G-b4
	@BENCH_PEERS=$(BENCH_PEERS) $(PY) -m bench $(if $(ONLY),--only $(ONLY)) $(if $(SHARE),--share $(SHARE))

$(PEERS)/.installed: bench/peers.txt
	@echo "the servers to compare with, in $(PEERS); without them their rows report it"
	@$(PYTHON) -m venv $(PEERS) && $(PEERS)/bin/python -m pip install --disable-pip-version-check --no-input -qq $(TORCH) \
		&& $(PEERS)/bin/python -m pip install --disable-pip-version-check --no-input -qq -r $< && touch $@ \
		|| echo "they could not be installed; continuing without them"

$(FOCUS)/.installed: scripts/focus.txt
	@for one in $(or $(FOCUS_PYTHON),python3.12 $(HOME)/.pyenv/versions/3.12*/bin/python python3.13 python3.14 python3); do \
		"$$one" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && found="$$one" && break; done; \
	[ -n "$${found:-}" ] || { echo "The validator needs Python >= 3.12: install it (Debian 13: apt-get install python3-venv; or uv python install 3.12), or name it: make test-focus FOCUS_PYTHON=/path/to/python3.12"; exit 3; }; \
	echo "the official validator, in $(FOCUS) ($$("$$found" --version))"; "$$found" -m venv $(FOCUS) \
		&& $(FOCUS)/bin/python -m pip install --disable-pip-version-check --no-input -q -r $< && touch $@ || { $(NOT_INSTALLED); }

clean: ## remove caches; data and .venv stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
