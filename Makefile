# What a developer runs. Every target sets up what it needs; see CONTRIBUTING.md.

PYTHON ?=
SOAK_MINUTES ?= 10
MIXED_MINUTES ?= 10
MIXED ?=
RUN := .venv/bin/python
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHON

.PHONY: help setup demo test live lint bench soak mixed clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## make .venv and install tmux when it is missing; the others do it by themselves
	@tests/lab/setup.sh

demo: setup ## two agents, real commands, a held message, proof: a minute (DEMO_AGENT=claude: the real one)
	@$(RUN) -m tests.lab.demo

test: setup lint ## lint and all tests; the shorter ones with real agents too (LIVE=0: without)
	@tests/lab/test.sh

live: setup ## every test with real agents, the long ones too (AGENTS="codex aider": only theirs)
	@LIVE=all tests/lab/test.sh

lint: setup ## ruff and mypy, over code and tests
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m mypy

bench: setup ## measure; figures on the terminal
	@$(RUN) -m benchmarks

soak: setup ## for SOAK_MINUTES (10) each: kill -9 under load, then steady traffic, judged at the end
	@NOVA_SOAK_S=$$(($(SOAK_MINUTES) * 60)) $(RUN) -m pytest -q -s -k soak tests/faults
	@$(RUN) -m benchmarks.soak --minutes $(SOAK_MINUTES)

mixed: setup ## real agents of every kind, told things and killed for MIXED_MINUTES (10); MIXED="claude=1 codex=1"
	@$(RUN) -m benchmarks.mixed --minutes $(MIXED_MINUTES) $(MIXED)

clean: ## remove .venv, .lab and every cache
	@rm -rf .venv .lab .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
