# Everything a person or CI calls. `make PYTHON=python3.12 test` chooses another interpreter.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --all-extras --no-annotate \
	--custom-compile-command "make constraints"
.DEFAULT_GOAL := help
.PHONY: help setup test lint demo clean constraints

help:  ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

setup:  ## Set up .venv: once, and again only when what it depends on changed.
	@command -v $(PYTHON) > /dev/null || { echo "set-up: There is no $(PYTHON): run \`sudo apt install python3\`." >&2; exit 1; }
	@$(PYTHON) environment/set_up.py

test: lint  ## Lint, check types and run the tests, side by side on up to 4 cores; ARGS goes to pytest.
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: setup  ## Lint and check types only.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

demo: setup  ## From a synthetic drive to a scored replay, into demo/; ARGS goes to `mayhem demo`.
	$(BIN)/mayhem demo --out demo $(ARGS)

constraints: setup  ## Choose the newest versions of all dependencies anew, beside numpy 2 and beside numpy 1.
	$(COMPILE) --output-file environment/constraints.txt setup.py
	$(COMPILE) --constraint environment/numpy-1.txt --output-file environment/constraints-numpy-1.txt setup.py

clean:  ## Remove .venv and everything that can be made again, but no demo or run.
	rm -rf .venv build install log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
