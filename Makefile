.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# Settings: PYTHON=/path/to/python3.11-or-newer (for a new .venv), PORT (for demo), ARGS="more
# arguments" (for test, bench and others), WORKERS (for test), MINUTES (for fuzz)
PYTHON ?=
# The port of the demo's page and /metrics, instead of 9877.
PORT ?=
ARGS ?=
# Test files that run at the same time. Two of them mostly wait.
WORKERS ?= 4
# Minutes for each fuzz target.
MINUTES ?= 1

# Unit tests wait more than they compute. Percent of the code, by line and branch, that they have to cover.
UNIT := --numprocesses 4 --dist worksteal
COVERED := 69

PY := .venv/bin/python
RUNTIME := .venv/.runtime
DEV := .venv/.dev
PIP := $(PY) -m pip --quiet --disable-pip-version-check --no-input
# Tools of audit and sbom. They have their own environment, because they are not dependencies of the
# project.
PIP_AUDIT := 2.10.1
CYCLONEDX := 7.5.0
AUDIT := .cache/audit-$(PIP_AUDIT)-$(CYCLONEDX)
GENERATED := docs/metrics.md config/schema.json alerts/recording.yml alerts/alerts.yml \
  deploy/kubernetes/prometheusrule.yaml dashboards/*.json

.PHONY: help demo stack unit test lint format generate pictures bench bench-default bench-commits bench-queues bench-sources scaling kubernetes soak quiet versions fuzz audit sbom lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## Run the exporter with embedded brokers and show its table (PORT=9999 for another port)
	@trap : INT; PATH="$$PATH:$(firstword $(wildcard $(CURDIR)/.cache/nsq-*))" $(PY) -m exporter demo \
	  $(if $(PORT),--listen 127.0.0.1:$(PORT)) || { status=$$?; [[ $$status -eq 130 ]] || exit $$status; }

stack: $(DEV) ## Run docker-compose.yml without containers (and without Grafana)
	@scripts/install-test-tools kafka rabbitmq nsq compose prometheus alertmanager
	@trap : INT; $(PY) scripts/stack.py

unit: $(DEV) ## Run the tests that need no broker and no other program, in a minute (ARGS="-k word" for some)
	@MQ_UNIT=1 $(PY) -m pytest tests/unit $(UNIT) $(ARGS)

test: $(DEV) ## Run all tests with real brokers (ARGS="-k word" for some)
	@scripts/install-test-tools
	@scripts/install-kerberos
ifeq ($(ARGS),)
	@$(PY) -m pytest tests/unit $(UNIT) --cov --cov-report= --cov-fail-under $(COVERED)
	@$(PY) -m pytest tests/fuzz tests/integration --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder --max-worker-restart 0
else
	@$(PY) -m pytest $(ARGS)
endif

lint: $(DEV) ## Check format, style, types, imports, /metrics and the generated files
	@scripts/install-test-tools
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) scripts/lint_page.py
	.cache/compose-*/compose docker-compose.yml >/dev/null
	@mkdir -p .cache
	@sha256sum $(GENERATED) > .cache/generated.sha256
	$(PY) scripts/generate.py
	@sha256sum --check --quiet .cache/generated.sha256 || { echo "generated files are outdated: run 'make generate' and commit its changes"; exit 1; }

format: $(DEV) ## Format the code and fix what can be fixed automatically
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

generate: $(DEV) ## Write the generated files: docs/metrics.md, config schema, alert rules, dashboards
	$(PY) scripts/generate.py

pictures: $(DEV) ## Create the pictures in docs/: the demo's, and those of the dashboards (needs Node.js and npm)
	@scripts/install-test-tools
	@$(PY) scripts/pictures.py
	@$(PY) scripts/board_pictures.py $(ARGS)

bench: $(DEV) ## Measure the exporter with Kafka (ARGS="--help" for options)
	@scripts/install-test-tools
	@$(PY) -m bench $(ARGS)

bench-default: $(DEV) ## Measure what the default configuration costs with Kafka, in seven minutes
	@scripts/install-test-tools
	@$(PY) -m bench.as_shipped $(ARGS)

bench-commits: $(DEV) ## Measure a million commits to Kafka and a pause of the exporter, in two minutes
	@scripts/install-test-tools
	@$(PY) -m bench.commit_load $(ARGS)

bench-queues: $(DEV) ## Measure the exporter with RabbitMQ and NSQ
	@scripts/install-test-tools
	@$(PY) -m bench.queues $(ARGS)

bench-sources: $(DEV) ## Measure the exporter with 1, 20 and 100 sources (ARGS="--dead": no broker answers)
	@scripts/install-test-tools
	@$(PY) -m bench.sources $(ARGS)

scaling: $(DEV) ## Simulate the scaling advice beside HPA and KEDA (ARGS=--write updates the docs)
	@$(PY) -m bench.scaling $(ARGS)

kubernetes: $(DEV) ## Let the real HPA controller and KEDA follow the advice (needs Go; the first time, it builds them)
	@scripts/install-test-tools nsq
	@scripts/install-kubernetes-parts
	@$(PY) -m pytest tests/kubernetes -rP $(ARGS)

soak: $(DEV) ## Run all systems for an hour with kills and reloads, check all numbers and memory (ARGS="--minutes 10")
	@scripts/install-test-tools
	@$(PY) -m bench.soak $(ARGS)

versions: $(DEV) ## Test all broker versions and write docs/compatibility.md (ARGS="rabbitmq-4.3 kafka" for some)
	@scripts/install-test-tools
	@$(PY) -m bench.versions $(ARGS)

fuzz: $(DEV) ## Feed random input to the parsers (MINUTES=10 for each, ARGS="TARGET …" for some)
	@$(PY) -m tests.fuzz --minutes $(MINUTES) $(ARGS)

quiet: $(DEV) ## Run healthy traffic for an hour: no alert may fire (ARGS="--minutes 10")
	@scripts/install-test-tools
	@$(PY) -m bench.quiet $(ARGS)

audit: $(AUDIT) ## Check the locked dependencies for known vulnerabilities (needs pypi.org)
	@for lock in requirements.lock requirements-msk-iam.lock requirements-keda.lock requirements-dev.lock; do \
	  $(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement $$lock \
	  || { echo "make audit: $$lock has a known vulnerability, or was not checked (see above)" >&2; exit 1; }; done

sbom: $(AUDIT) ## Write the runtime dependencies to dist/sbom.cdx.json (CycloneDX)
	@mkdir -p dist
	@PYTHONWARNINGS=ignore $(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --validate --output-file dist/sbom.cdx.json requirements.lock
	@echo "dist/sbom.cdx.json: $$($(AUDIT)/bin/python -c 'import json; print(len(json.load(open("dist/sbom.cdx.json"))["components"]))') components"

$(AUDIT):
	@mkdir -p .cache
	@$(if $(PYTHON),$(PYTHON),python3) -m venv $@
	@$@/bin/pip --quiet --disable-pip-version-check install pip-audit==$(PIP_AUDIT) cyclonedx-bom==$(CYCLONEDX) || { rm -rf $@; exit 1; }

lock: ## Update the lock files (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml --extra msk-iam \
	  --constraint requirements.lock --output-file requirements-msk-iam.lock
	uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml --extra keda \
	  --constraint requirements.lock --output-file requirements-keda.lock
	uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml --group dev \
	  --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove everything that make has created, including .venv and .cache
	rm -rf .venv .cache dist bench/results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf .coverage .coverage.* *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file says what is in .venv: the runtime dependencies, or also the development dependencies.
# The lock files are complete, so pip resolves nothing (--no-deps): older versions of pip demand a hash
# of a newer release if an extra is requested (pypa/pip#9644).

$(RUNTIME): requirements.lock
	@scripts/create-venv $(PYTHON)
	@scripts/install-packages requirements.lock
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml
	@scripts/create-venv $(PYTHON)
	@scripts/install-packages requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(RUNTIME) $@
