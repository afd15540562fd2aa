# Each target makes its own environment in .venv when it is missing or stale.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: demo test check fuzz up stubs reference format environment

demo: environment ## two real models the whole way, measured on this machine
	$(RUN) -m demo

up: environment ## a server and an agent for this machine, until Ctrl-C
	$(RUN) -m edgeconv up

test: ## all tests; PYTEST="-k words" narrows them
	$(PYTHON) tools/environment.py --system
	$(RUN) -m pytest $(PYTEST)

check: environment ## format, lint, types, layers, generated files, protos
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	.venv/bin/lint-imports
	$(RUN) -m tools.generate_stubs --check
	$(RUN) -m tools.generate_reference --check
	$(RUN) -m tools.step_revisions --check
	$(RUN) -m tools.lint_protos

fuzz: environment ## hostile files against the intake; FUZZ="--cases 200" changes it
	$(RUN) -m fuzzing $(FUZZ)

stubs: environment ## edgeconv/v1 from protos/
	$(RUN) -m tools.generate_stubs

reference: environment ## docs/reference from the code
	$(RUN) -m tools.generate_reference

format: environment ## formats and repairs what ruff can
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

environment:
	@$(PYTHON) tools/environment.py
