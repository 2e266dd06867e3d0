# agentft: every target makes .venv by itself and is quick when nothing changed.
.DEFAULT_GOAL := help
SHELL  := /bin/bash
PY     := .venv/bin/python
RECIPE ?= quickstart
ARGS   ?=

.PHONY: help run test check test-notebooks test-python format reading lab export outputs measured clean

help:  ## this list
	@echo 'make TARGET, where TARGET is one of'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-16s%s\n", $$1, $$2}'
	@echo
	@echo 'make run RECIPE=name ARGS="--from train -p train.seed 2"; make run PYTHON=/path/to/python3.11'

.venv/ready: settings.ini setup.py .ci/venv
	@.ci/venv

run: .venv/ready  ## the four phases of recipes/quickstart.yaml, into runs/quickstart/; continues where it stopped
	@.venv/bin/agentft run $(RECIPE) $(ARGS)

test: .venv/ready  ## everything that has to hold: all stages run, then a summary says what failed where
	@$(PY) tools/stages.py

check: .venv/ready  ## style, generated files, order of imports: under a minute, for the inner loop
	@$(PY) tools/stages.py check

test-notebooks: .venv/ready  ## every notebook runs and puts out what is stored in it
	@$(PY) tools/stages.py notebooks

test-python: .venv/ready  ## what crosses notebooks: pipeline, faults, servers
	@$(PY) tools/stages.py python

format: .venv/ready  ## ruff formats notebooks, tests and tools, and mends what it can
	@.venv/bin/ruff format -q . && .venv/bin/ruff check --fix -q . ; .venv/bin/ruff format -q .

reading: .venv/ready  ## how the notebooks read: sizes of cells, prose, examples
	@$(PY) tools/reading.py

lab: .venv/ready  ## JupyterLab on the notebooks
	@.venv/bin/jupyter lab --notebook-dir=nbs

export: .venv/ready  ## agentft/ and README.md from the notebooks, notebooks cleaned
	@.venv/bin/nbdev_export && .venv/bin/nbdev_clean && $(PY) tools/in_sync.py --write-readme

outputs: .venv/ready  ## run every notebook in place and keep what it puts out
	@$(PY) tools/replay.py --store

measured: .venv/ready  ## keep results and pages of the last make run as the ones that the README shows
	@$(PY) tools/in_sync.py --keep $(RECIPE)

clean:  ## remove .venv and caches; runs/ stays
	rm -rf .venv *.egg-info build .pytest_cache .hypothesis .replay
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
