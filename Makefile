# JobTuner. `make help` lists the targets; CI calls only these.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
UV     := 0.9.30
TORCH  := torch==2.13.0
# Where pip is told of extra wheels or another index, uv shall look there too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export UV_LINK_MODE ?= copy

RECIPE   ?= smoke
INPUT    ?=
TAXONOMY ?=
ARGS     ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-vllm test-gpu test-cluster lint type format check compile golden bench lock clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One stamp file stands for the whole environment: made again when a pin or the package metadata changes.
setup: $(VENV)/.ready  ## Make .venv from the pinned requirements (quick when nothing changed)

$(VENV)/.ready: requirements/main.lock pyproject.toml Makefile
	@$(or $(PYTHON),false) -c "import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))" || { echo "JobTuner needs Python 3.11. Install it, or name it: make PYTHON=/path/to/python3.11 setup"; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the pinned requirements"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@$(call uv) pip install --quiet $(TORCH)
	@$(call uv) pip install --quiet --require-hashes --no-deps -r requirements/main.lock
	@$(call uv) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# uv treats an empty variable as a value: unset those that nobody gave.
uv = env $(if $(UV_FIND_LINKS),,-u UV_FIND_LINKS) $(if $(UV_DEFAULT_INDEX),,-u UV_DEFAULT_INDEX) $(BIN)/uv

run: setup  ## Run the whole pipeline here (INPUT=, TAXONOMY=, RECIPE=, ARGS="--set training.epochs=2")
	@$(BIN)/jobtuner run --recipe $(RECIPE) $(if $(INPUT),--input "$(INPUT)") $(if $(TAXONOMY),--taxonomy "$(TAXONOMY)") $(ARGS)

test: setup  ## Run the fast tests, one full local pipeline run among them
	@$(BIN)/pytest $(ARGS)

test-slow: setup  ## Run the tests that take minutes
	@$(BIN)/pytest -m slow $(ARGS)

test-vllm: setup  ## Run the tests that need the vLLM serving environment
	@$(BIN)/pytest -m vllm $(ARGS)

test-gpu: setup  ## Run the tests that need a CUDA device
	@$(BIN)/pytest -m gpu $(ARGS)

test-cluster: setup  ## Run the tests that need a Kubernetes cluster (KUBECONFIG)
	@$(BIN)/pytest -m cluster $(ARGS)

lint: setup  ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

type: setup  ## Check types (mypy, strict)
	@$(BIN)/mypy

format: setup  ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

check: lint type test  ## Everything CI checks

compile: setup  ## Compile the pipeline to outputs/training.yaml
	@mkdir -p outputs
	@$(BIN)/jobtuner compile --output outputs/training.yaml

golden: setup  ## Rewrite the golden files; read the diff before you commit it
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q tests/pipelines

bench: setup  ## Run the benchmarks (nothing else may run meanwhile)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: setup  ## Resolve requirements/main.in anew into main.lock, with hashes
	@{ echo "$(TORCH)"; cat requirements/main.in; } > $(VENV)/all.in
	@$(call uv) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-package torch $(VENV)/all.in -o requirements/main.lock

clean:  ## Remove outputs and caches (not .venv)
	@rm -rf outputs build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
