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
DATA     ?=

# Tests run in so many processes, one thread each: torch's threads would fight over the cores. `make test WORKERS=1` is plainer.
WORKERS  ?= $(shell python3 -c "import os; print(min(4, os.cpu_count() or 1))")
PYTEST    = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# What only some machines have, found where it lies; whatever is missing is skipped with a word. Tests see these names too.
TFOFFLINE ?= ../shared/tools/terraform-offline/tfoffline
KUBECHECK ?= ../shared/tools/kube-offline/kubecheck
SCANNERS  := .venv-scanners
VLLM      := .venv-vllm
CHECKOV   ?= $(wildcard $(SCANNERS)/bin/checkov)
HADOLINT  ?= $(wildcard $(SCANNERS)/bin/hadolint)
export TFOFFLINE KUBECHECK CHECKOV HADOLINT

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-vllm test-gguf test-gpu test-cluster lint type format check compile golden drift-demo screenshots bench gpu-bench \
	terraform-check cluster-env manifests manifests-check alerts-check promtool images sbom pin-images kind-up lock lock-scanners lock-vllm clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One stamp file stands for the whole environment: made again when a pin or the package metadata changes.
setup: $(VENV)/.ready  ## Make .venv from the pinned requirements (quick when nothing changed)

$(VENV)/.ready: requirements/main.lock pyproject.toml Makefile
	@$(or $(PYTHON),false) -c "import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))" || { echo "JobTuner needs Python 3.11. Install it, or name it: make PYTHON=/path/to/python3.11 setup"; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the pinned requirements"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@$(call uv) pip install --quiet $(TORCH)
	@$(call uv) pip install --quiet --require-hashes --no-deps -r requirements/main.lock
	@$(call uv) pip install --quiet --no-deps --no-build-isolation --compile-bytecode --editable .
	@touch $@

# uv treats an empty variable as a value: unset those that nobody gave.
uv = env $(if $(UV_FIND_LINKS),,-u UV_FIND_LINKS) $(if $(UV_DEFAULT_INDEX),,-u UV_DEFAULT_INDEX) $(BIN)/uv

run: setup  ## Run the whole pipeline here (INPUT=, TAXONOMY=, RECIPE=, ARGS="--set training.epochs=2")
	@$(BIN)/jobtuner run --recipe $(RECIPE) $(if $(INPUT),--input "$(INPUT)") $(if $(TAXONOMY),--taxonomy "$(TAXONOMY)") $(ARGS)

test: setup  ## Run the fast tests, one full local pipeline run among them
	@$(PYTEST) $(ARGS)

test-slow: setup  ## Run the tests that take minutes
	@$(PYTEST) -m slow $(ARGS)

test-vllm: $(VLLM)/.ready  ## Run the tests against a real vLLM engine on the CPU (makes .venv-vllm)
	@JOBTUNER_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python $(BIN)/pytest -m vllm $(ARGS)

# vLLM wants an older transformers: an environment of its own. Its torch is the CPU build, which pip must be told of
# (PIP_FIND_LINKS or an extra index) where it is not the default one.
$(VLLM)/.ready: requirements/vllm.lock | setup
	@test -x $(VLLM)/bin/python || $(BIN)/python -m venv $(VLLM)
	@echo "Installing the pinned vLLM engine"
	@VIRTUAL_ENV=$(CURDIR)/$(VLLM) $(call uv) pip install --quiet $(TORCH)+cpu
	@VIRTUAL_ENV=$(CURDIR)/$(VLLM) $(call uv) pip install --quiet --require-hashes --no-deps -r requirements/vllm.lock
	@touch $@

test-gguf: setup  ## Run the tests that need llama-cpp-python (LLAMA_PYTHON=/path/to/python)
	@$(BIN)/pytest -m gguf $(ARGS)

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

compile: setup  ## Compile the pipelines to outputs/{training,monitoring,batch,tuning}.yaml
	@mkdir -p outputs
	@for name in training monitoring batch tuning; do $(BIN)/jobtuner compile --pipeline $$name --output outputs/$$name.yaml || exit 1; done

drift-demo: setup  ## Play six months of changing ads, with and without retraining
	@$(BIN)/jobtuner drift-demo --output outputs/drift-demo $(ARGS)

screenshots: setup  ## Pictures of the web page for README (Chromium)
	@$(BIN)/python -m docs.screenshots $(ARGS)

golden: setup  ## Rewrite the golden files; read the diff before you commit it
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q tests/pipelines tests/manifests

bench: setup  ## Run the benchmarks (nothing else may run meanwhile; DATA= a folder of real rows, for the baseline's)
	@for name in answer_loss bootstrap gateway_overhead label_scores personal_data prepare_scale read_rows train_throughput; do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done
	@$(if $(DATA),for name in baseline_real baseline_variants drift_real languages; do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py $(DATA) || exit 1; done,echo "Skipped: four benchmarks need DATA=FOLDER")

gpu-bench: setup  ## Time fine-tuning of Qwen2.5-7B's shape on a GPU (ARGS="--peak-flops 989e12" adds the MFU, ARGS=--tiny tries it on any machine)
	@$(BIN)/python benchmarks/train_throughput.py --gpu $(ARGS)

# ---- Terraform ---------------------------------------------------------------------------------------------------------------

# An offline Terraform that knows the real providers' schemas, where there is one; else `terraform` and its registry.
TF        ?= $(or $(wildcard $(TFOFFLINE)),terraform)
PLANS     := outputs/terraform-plans
ENV       ?=

terraform-check: setup $(SCANNERS)/.ready  ## Check Terraform: fmt, validate, test, plans (where offline), checkov
	@if command -v terraform > /dev/null; then \
	  rm -rf $(PLANS); $(BIN)/python terraform/docs.py --check && \
	  $(BIN)/python terraform/check.py --terraform "$(TF)" $(if $(wildcard $(TFOFFLINE)),--offline) --plans $(PLANS) && \
	  $(BIN)/python terraform/scan.py --checkov $(SCANNERS)/bin/checkov $(if $(wildcard $(TFOFFLINE)),--plans $(PLANS)); \
	else echo "Skipped: terraform is not installed (1.11 or newer)"; fi

cluster-env: setup  ## Write manifests/clusters/ENV from Terraform's outputs (ENV=gcp-dev)
	@test -n "$(ENV)" || { echo "Which environment? make cluster-env ENV=gcp-dev; there are: $(notdir $(patsubst %/,%,$(wildcard terraform/envs/*/)))"; exit 1; }
	@$(BIN)/python terraform/cluster_env.py --env $(ENV) --terraform "$(TF)"

# checkov pins packages that the main environment needs newer: an environment of its own.
$(SCANNERS)/.ready: requirements/scanners.lock | setup
	@test -x $(SCANNERS)/bin/python || $(BIN)/python -m venv $(SCANNERS)
	@echo "Installing the pinned scanners"
	@VIRTUAL_ENV=$(CURDIR)/$(SCANNERS) $(call uv) pip install --quiet --require-hashes --no-deps -r requirements/scanners.lock
	@touch $@

# ---- Manifests and images ----------------------------------------------------------------------------------------------------

# Container engine: the first of docker, podman, buildah that is installed.
ENGINE    ?= $(firstword $(foreach name,docker podman buildah,$(if $(shell command -v $(name)),$(name))))
PUSH      ?=
TORCH_INDEX_URL ?=
IMAGES    := cpu train
version_of = $(shell sed -n 's/^$(1)=//p' versions.env)
image_cpu   = $(firstword $(subst @, ,$(call version_of,JOBTUNER_CPU_IMAGE)))
image_train = $(firstword $(subst @, ,$(call version_of,JOBTUNER_TRAIN_IMAGE)))
# podman and buildah keep HEALTHCHECK and SHELL in Docker's format only.
build = $(or $(ENGINE),$(error No container engine: install docker, podman or buildah)) build --file docker/$(1).Dockerfile \
	$(if $(filter docker,$(ENGINE)),,--format docker) --build-arg BASE_IMAGE=$(call version_of,PYTHON_BASE_IMAGE) \
	--build-arg REVISION=$(shell git rev-parse HEAD) --build-arg CREATED=$(shell git log -1 --format=%cI) \
	$(if $(and $(filter cpu,$(1)),$(TORCH_INDEX_URL)),--build-arg TORCH_INDEX_URL=$(TORCH_INDEX_URL))

manifests: setup  ## Render every overlay to outputs/manifests
	@$(BIN)/python -m manifests.check render outputs/manifests

manifests-check: setup $(SCANNERS)/.ready  ## Judge every overlay with every feature (KUBECHECK=, CHECKOV=)
	@CHECKOV="$(or $(CHECKOV),$(SCANNERS)/bin/checkov)" $(BIN)/python -m manifests.check

PROMTOOL ?= $(firstword $(wildcard .promtool/usr/bin/promtool) $(shell command -v promtool))
export PROMTOOL

alerts-check: setup  ## Judge the alerts on series by promtool (PROMTOOL=; make promtool fetches it)
	@$(BIN)/python -m manifests.alerts

promtool:  ## Unpack promtool from Debian's package prometheus; no service is started
	@mkdir -p .promtool && cd .promtool && apt-get download prometheus && dpkg -x prometheus_*.deb .

images:  ## Build the images (PUSH=1, ENGINE=, TORCH_INDEX_URL=)
	@$(foreach name,$(IMAGES),$(call build,$(name)) --target runtime --tag $(image_$(name)) . &&) true
	@$(if $(PUSH),$(foreach name,$(IMAGES),$(ENGINE) push $(image_$(name)) &&)) true

sbom:  ## Write the images' bills of materials (CycloneDX) to outputs/sbom
	@$(foreach name,$(IMAGES),mkdir -p outputs/sbom/$(name) && $(call build,$(name)) --target sbom --output outputs/sbom/$(name) . &&) true

pin-images: setup  ## Look up the digests of all images, into versions.env and the overlays
	@$(BIN)/python -m manifests.versions --pin

kind-up:  ## A cluster in Docker with the overlay kind (needs docker, kind, kubectl, helm, and make images)
	@manifests/kind-up.sh

# ---- Requirements ------------------------------------------------------------------------------------------------------------

lock: setup  ## Resolve requirements/main.in anew into main.lock, with hashes
	@{ echo "$(TORCH)"; cat requirements/main.in; } > $(VENV)/all.in
	@$(call uv) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-package torch $(VENV)/all.in -o requirements/main.lock

lock-scanners: setup  ## Resolve requirements/scanners.in anew into scanners.lock, with hashes
	@$(call uv) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/scanners.in -o requirements/scanners.lock

lock-vllm: setup  ## Resolve requirements/vllm.in anew into vllm.lock, with hashes
	@{ echo "$(TORCH)+cpu"; cat requirements/vllm.in; } > $(VENV)/all.in
	@$(call uv) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-package torch --no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec $(VENV)/all.in -o requirements/vllm.lock

clean:  ## Remove outputs and caches (not .venv)
	@rm -rf outputs build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
