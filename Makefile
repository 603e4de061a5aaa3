# Every command sets up what it needs. What they make lies under build/.
# The first that runs: a version manager's shim may be there for a version that is not.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)) python3)
DATA ?= sample
CONFIG ?= configs/sample.toml
OUT ?= build/run
SEED ?= 1
# The sample's adapters are trained on its train part, folds of which would flatter them.
FOLDS ?= $(if $(filter sample,$(DATA)),0,3)
BIN := .venv/bin
SHELL := /bin/bash
.DELETE_ON_ERROR:

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/\1\t/' | expand -t 16

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13) and "error: Python %d.%d: 3.11 to 3.13 are supported; make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[models,training,dev]'
	@touch $@

.PHONY: setup
setup: .venv/ready ## the virtual environment .venv, with everything

.PHONY: run
run: .venv/ready ## the sample, or DATA=dir CONFIG=file OUT=dir, through the notebooks -> OUT/submission.csv
	$(BIN)/python -m cascade run --config $(CONFIG) --data $(DATA) --out $(OUT)

.PHONY: evaluate
evaluate: .venv/ready ## table of every part on the sample's test, or by cross-validation: DATA=dir FOLDS=3 QUESTIONS=n (at most, a fold)
	$(BIN)/python -m cascade evaluate --config $(CONFIG) --data $(DATA) --out build/evaluate --folds $(FOLDS) $(if $(QUESTIONS),--questions $(QUESTIONS))

.PHONY: test
test: .venv/ready ## lint, types and all tests
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest

.PHONY: lint
lint: .venv/ready ## ruff, mypy and the notebooks' check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m packer notebooks

.PHONY: bench
bench: .venv/ready ## figures as ratios in one run -> build/bench.json; ONLY=name for one
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

.PHONY: sample
sample: .venv/ready ## the sample anew: SEED=2 OUT=dir for another (default: the committed one, seed 1)
	$(BIN)/python -m sample.generate --seed $(SEED) --out $(if $(filter command%,$(origin OUT)),$(OUT),$(if $(filter 1,$(SEED)),sample,build/sample-$(SEED)))

.PHONY: train
train: .venv/ready ## both adapters on the sample's train part; prints the numbers for the config, fitted on folds of it
	$(BIN)/python -m training retriever
	$(BIN)/python -m training cross-encoder
	$(BIN)/python -m training weights

.PHONY: clean
clean: ## removes build/, not the environment
	rm -rf build
