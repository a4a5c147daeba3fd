# Everything runs in .venv, which the first target that needs it makes.
# A fresh machine needs Python (3.10 to 3.13), make and a package registry.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(VENV)/bootstrap/bin/uv
READY  := $(VENV)/.ready
OLD    := .venv-old-host
DOCS   := .venv-docs
# Three workers for two cores, since many tests wait. A module stays on one worker, so its fixtures are
# set up once; in the order of the folders, the slow modules come first.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
# Tests start hundreds of processes, which should not all recompile what they import.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-old-host release-check docs coverage mutants bench soak lint types layers format manifests constraints clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@echo "Making $(VENV): the host (inference) brings about 7 GB the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV)/bootstrap && $(VENV)/bootstrap/bin/pip install --quiet --disable-pip-version-check uv; }
	@$(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[inference,server,s3]' --group dev
	@touch $@

install: $(READY) ## Make .venv with the package, the host and the test tools.

demo: $(READY) ## See events of real workflows in your browser: no account, no model, no network.
	@$(BIN)/vision-events demo

test: lint types layers ## Check style, types and layers, then run every test.
	@tests/tools.sh
	@$(BIN)/python -m pytest $(PARALLEL)

$(OLD)/.ready: pyproject.toml | $(READY)
	@test -x $(OLD)/bin/python || $(UV) venv --quiet --python '>=3.10,<3.13' $(OLD)
	@$(UV) pip install --quiet --python $(OLD)/bin/python --editable '.[server]' 'inference[http]==1.5.2' \
		pytest pytest-timeout pytest-xdist qrcode
	@touch $@

test-old-host: $(OLD)/.ready ## Run samples, block, server and pipeline on inference 1.5.2, the oldest host.
	$(OLD)/bin/python -m pytest \
		$(addprefix tests/integration/test_,sample_workflows.py block.py inference_pipeline.py http_server.py track_event.py)

release-check: $(READY) ## Build the wheel and try it as its users would, with the host and without.
	$(BIN)/python tests/release_check.py

$(DOCS)/.ready: pyproject.toml | $(READY)
	@test -x $(DOCS)/bin/python || $(UV) venv --quiet --python $(BIN)/python $(DOCS)
	@$(UV) pip install --quiet --python $(DOCS)/bin/python --group docs
	@touch $@

docs: $(DOCS)/.ready ## Build the documents as a site in build/site; a dead link fails.
	@DISABLE_MKDOCS_2_WARNING=true $(DOCS)/bin/python docs/pages.py
	@echo "The site is in build/site/index.html"

coverage: $(READY) ## Measure which lines and branches the unit tests and those of the server run.
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report= tests/unit tests/integration/server
	@for room in contract events convert story outbox delivery; do \
		$(BIN)/coverage report --fail-under 95 --include "vision_event_block/$$room/*" || exit 1; done
	$(BIN)/coverage report --fail-under 90

PACKAGE ?= outbox
mutants: $(READY) ## Change the code of PACKAGE in 60 places, and check that its tests notice.
	$(BIN)/python tests/mutants.py --package $(PACKAGE) --count 60

bench: $(READY) ## Compare with the official block, side by side; fails below what was reached before.
	$(BIN)/python benchmarks/conversion.py
	$(BIN)/python benchmarks/run_time.py
	$(BIN)/python benchmarks/side_by_side.py --check

soak: $(READY) ## Run the fault tests for hours, with every crash point and fault, and long fuzzing.
	TEST_SOAK=30 $(BIN)/python -m pytest $(PARALLEL) --timeout 0 tests/faults tests/fuzz

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

format: $(READY) ## Format the code and fix what ruff can fix.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

manifests: $(READY) ## Regenerate manifests/ and the tables of fields after a change of the blocks' fields.
	$(BIN)/python docs/manifests.py --write
	$(BIN)/python docs/fields.py --write

constraints: $(READY) ## Look up newer versions of everything and write constraints.txt.
	$(UV) pip compile --quiet --universal --python-version 3.10 --upgrade --no-emit-index-url \
		--no-annotate --no-header --all-extras --group dev pyproject.toml -o constraints.txt

clean: ## Remove .venv and caches.
	rm -rf $(VENV) $(OLD) $(DOCS) build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
