# `make repro` and `make test` set up everything they need; a second call installs nothing.

PYTHON ?= python3
REQUIREMENTS ?= requirements.txt
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

# The commands of dvc.yaml say `python`: let it be the one with the requirements.
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONPATH

.PHONY: help repro test quicktest soak lint params verify mutants bench ablation audit demo requirements

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

repro: $(VENV)/installed  ## run the pipeline on the data and backbones of params.yaml
	$(BIN)/dvc repro

test: $(VENV)/installed-test  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quicktest: $(VENV)/installed-test  ## the tests that train nothing
	$(BIN)/python -m pytest -m "not slow and not soak"

soak: $(VENV)/installed-test  ## the long tests of faults and fuzzing
	$(BIN)/python -m pytest -m soak

lint: $(VENV)/installed-test  ## ruff, as CI runs it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

params: $(VENV)/installed  ## compose conf/ into params.yaml, as `dvc exp run` does
	$(BIN)/python -m conf.compose

verify: $(VENV)/installed  ## run the pipeline twice in a clean clone, compare all bytes; 20 minutes
	$(BIN)/python -m tests.verify

AREA := evaluation
mutants: $(VENV)/installed-test  ## change the code in small ways, see whether a test fails; an hour
	$(BIN)/python -m tests.mutants $(AREA)

# ARCHIVE=my.zip measures at full size, for two hours; without it a trial on the sample, for seconds.
bench: $(VENV)/installed  ## measure speed and memory; see benchmarks/README.md
	$(BIN)/python -m benchmarks $(if $(ARCHIVE),--archive $(ARCHIVE),--quick --archive data/sample/sample.zip --out .work/benchmarks)

# Of the paper's data and recipe, 14 trainings of ResNet-50: some hours of one GPU. Other data or backbone:
# make ablation ABLATION="--model resnet50v2 -S train=tuned"
ABLATION := -S data=cifake -S train=paper
ablation: $(VENV)/installed  ## transfer ResNet-50 in every way, to see why it fails; needs a GPU
	$(BIN)/python -m benchmarks.transfers queue $(ABLATION)
	$(BIN)/dvc exp run --run-all
	$(BIN)/python -m benchmarks.transfers table $(ABLATION)

demo: $(VENV)/installed  ## a page on this machine that answers for images; see the README
	$(BIN)/python -m detector demo

# A package that the index does not answer for is an error (--strict), not a pass. A weakness without
# a remedy: add --ignore-vuln ID, with the reason and what keeps it from mattering here.
AUDIT := .work/audit
audit:  ## ask the package index for known weaknesses of everything pinned; needs the network
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(AUDIT)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes $(addprefix -r ,requirements.txt requirements/test.txt requirements/gpu.txt)

$(VENV)/installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	@echo "Installing $(REQUIREMENTS) into $(VENV), once; some 2 GB and a few minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -r $(REQUIREMENTS)
	@touch $@

$(VENV)/installed-test: requirements/test.txt $(VENV)/installed
	$(PIP_INSTALL) -r requirements/test.txt
	@touch $@

# After a change of a requirements/*.in: pin everything anew, with hashes, for every platform.
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
requirements:  ## pin everything anew after a change of requirements/*.in; needs uv
	$(UV_COMPILE) requirements/requirements.in -o requirements.txt
	$(UV_COMPILE) requirements/gpu.in -o requirements/gpu.txt
	$(UV_COMPILE) requirements/test.in -o requirements/test.txt
