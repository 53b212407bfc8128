# make report   set up, run the bundled bank from its tables to its reports
# make test     set up, run the tests
# make thorough  set up, run the long simulations and benchmarks that make test leaves out
# make engines  set up with the drivers of Spark and PostgreSQL, run the tests that need them
# make lint     format and lint checks;  make types  type checks;  make lab  open JupyterLab
# make validation   try the estimators on simulated banks whose truth is known; writes docs/validation.md, about a quarter of an hour
# make measures     try intervals and alarms on samples whose truth is known; writes docs/measures.md, about five minutes
# make calibration  fit what each grade of evidence is worth in banks of drawn difficulty; writes rox/core/bias_layers.toml
# make PYTHON=/path/to/python3.11 …      choose an interpreter

SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
# Test files side by side; `make test SPLIT=` runs them one after another.
SPLIT ?= -n 2 --dist loadfile --no-loadscope-reorder

# Two test processes share two cores; arithmetic that opens threads of its own only gets in their way.
test thorough fast engines: export OMP_NUM_THREADS ?= 1

# An interpreter counts only if it runs, is 3.11 or newer and can make environments: version managers leave shims behind
# that exist but do not start.
FIND_PYTHON = for p in python3.12 python3.11 python3 python3.13 python3.14 \
    "$$HOME"/.pyenv/versions/3.12*/bin/python "$$HOME"/.pyenv/versions/3.11*/bin/python python; do \
    "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done
PYTHON ?= $(shell $(FIND_PYTHON))

.PHONY: report test thorough fast engines lint types lab validation measures calibration clean

report: $(VENV)/.done
	$(BIN)/rox run data/bank/study.toml --out out/bank

test: $(VENV)/.test
	$(BIN)/python -m pytest -q $(SPLIT) -m "not thorough"

thorough: $(VENV)/.test
	$(BIN)/python -m pytest -q $(SPLIT) -m thorough

fast: $(VENV)/.test
	$(BIN)/python -m pytest -q $(SPLIT) -m "not thorough and not slow and not notebook and not browser and not office and not spark and not postgres"

engines: $(VENV)/.engines
	$(BIN)/python -m pytest -q -m "spark or postgres"

lint: $(VENV)/.dev
	$(BIN)/ruff format --check rox tests
	$(BIN)/ruff check rox tests notebooks

types: $(VENV)/.dev
	$(BIN)/mypy

lab: $(VENV)/.done
	$(BIN)/jupyter lab notebooks

validation: $(VENV)/.done
	$(BIN)/rox validate --presets easy cmb hard cmb/dip cmb/trend --replications 4 --customers 10000 --seed 1 \
	--jobs 2 --out out/validation --document docs/validation.md

measures: $(VENV)/.done
	$(BIN)/rox validate --measures --seed 1 --jobs 2 --out out/measures --document docs/measures.md

calibration: $(VENV)/.done
	$(BIN)/rox validate --estimators gap panel lead_lag joint_path rollout_slope churn uplift \
	promoter_gap pooled_ols quartiles before_after \
	--presets mixed --replications 30 --customers 10000 --seed 501 --posteriors 0 --jobs 2 \
	--out out/calibration --calibrate out/calibration
	cp out/calibration/bias_layers.toml rox/core/
	cp out/calibration/calibration.csv out/calibration/calibration.md docs/

$(VENV)/.done: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No working Python 3.11 or newer was found (on Debian: apt install python3-venv). \
	Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version)"; started=$$(date +%s); \
	"$(PYTHON)" -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . && \
	echo "Set up in $$(( $$(date +%s) - started )) s." && touch $@

$(VENV)/.test: $(VENV)/.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.engines: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,spark,postgres]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	@touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis
