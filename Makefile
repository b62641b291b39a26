# What a developer runs. Every target sets up what it needs; see CONTRIBUTING.md.

PYTHON ?=
SOAK_MINUTES ?= 60
MIXED_MINUTES ?= 10
FAULTS_MINUTES ?= 10
FUZZ_MINUTES ?= 10
FUZZ ?=
MIXED ?=
RUN := .venv/bin/python
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHON
unexport PYTHONDONTWRITEBYTECODE # each of the tests' workers, and each program they start, would compile it all

.PHONY: help setup demo test live lint warm bench soak kills mixed faults fuzz clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## make .venv and install tmux when it is missing; the others do it by themselves
	@tests/lab/setup.sh

demo: setup ## two agents, real commands, a held message, proof: a minute (DEMO_AGENT=claude: the real one)
	@$(RUN) -m tests.lab.demo

test: setup ## lint and all tests; the shorter ones with real agents too (LIVE=0: without)
	@$(MAKE) -j2 lint warm
	@tests/lab/test.sh

live: setup ## every test with real agents, the long ones too (AGENTS="codex aider": only theirs)
	@LIVE=all tests/lab/test.sh

lint: setup ## ruff and mypy, over code and tests
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m mypy

# Compile the tests once, in the time that mypy takes, and not in each worker. What is wrong with them, they say.
warm: setup
	@$(RUN) -m pytest -qq --collect-only -p no:cacheprovider tests >/dev/null 2>&1 || :

bench: setup ## measure; figures on the terminal
	@$(RUN) -m benchmarks

soak: setup ## steady traffic for SOAK_MINUTES (60): whether anything grows, and what arrived
	@$(RUN) -m benchmarks.soak --minutes $(SOAK_MINUTES)

kills: setup ## 10,000 messages, and kill -9 of daemons, broker and tmux clients every 3 s: 12 minutes
	@$(RUN) -m benchmarks.kills

mixed: setup ## real agents of every kind, told things and killed for MIXED_MINUTES (10); MIXED="claude=1 codex=1"
	@$(RUN) -m benchmarks.mixed --minutes $(MIXED_MINUTES) $(MIXED)

faults: setup ## all of tests/faults, then the random ones for FAULTS_MINUTES (10) each, with what ended unconfirmed
	@$(RUN) -m pytest -q -n $$(($$(nproc) + 2)) --dist worksteal tests/faults
	@NOVA_FAULTS_MINUTES=$(FAULTS_MINUTES) $(RUN) -m pytest -q -s -m endless tests/faults

fuzz: setup ## feed what reads foreign bytes by coverage for FUZZ_MINUTES (10) in all; FUZZ="frames tmux": only these
	@$(RUN) -c 'import atheris' 2>/dev/null || $(RUN) -m pip install -q -e '.[fuzz]'
	@$(RUN) -m tests.fuzz --minutes $(FUZZ_MINUTES) $(FUZZ)

clean: ## remove .venv, .lab and every cache
	@rm -rf .venv .lab .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
