.PHONY: demo test lint format
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "pip>=25.1"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[evaluate,heic,postgres,service]" --group dev
	# The second opinion on similarity; asks for torchvision, which what is tested does not need.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt piq
	touch $@

demo: $(VENV)/installed
	$(BIN)/photovax demo -o demo

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/pytest
