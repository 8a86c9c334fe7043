# Everything a user or contributor runs. Needs Python 3.11 and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
# PyTorch's own index of CPU builds; elsewhere plain `torch` brings CUDA along. Where that index
# cannot be reached, the configured one is asked.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CODE := app.py cli.py syncnet_wrapper.py efficientnet_detector.py frame_extractor.py fusion.py \
	gunicorn_config.py syncnet_python service evaluation training benchmarks

.PHONY: serve demo test test-quick check lint types format bench figures models clean

serve: $(VENV)/.ready
	$(BIN)/gunicorn app:app -c gunicorn_config.py

test: $(VENV)/.ready-dev
	$(BIN)/pytest

test-quick: $(VENV)/.ready-dev
	$(BIN)/pytest -m "not slow"

check: lint types test

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready-dev
	$(BIN)/mypy $(CODE)

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: $(VENV)/.ready-dev
	$(BIN)/syncnet-service demo --output-dir demo

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks

# The figures on the cards and in the README, on media beside the checkout. TEACHER holds the
# labels that training/teacher.py writes.
DATA ?= ../shared/data
TEACHER ?= training/runs/teacher
figures: $(VENV)/.ready-dev
	$(BIN)/python -m evaluation.faces --data $(DATA) --teacher $(TEACHER) --json models/faces.figures.json
	$(BIN)/python -m evaluation.sync --data $(DATA)/sync_val --json models/syncnet_fcn.figures.json
	$(BIN)/python -m evaluation.artifact --data $(DATA) --json models/efficientnet_b0.figures.json
	$(BIN)/python -m evaluation.readme

models: $(VENV)/.ready
	$(BIN)/syncnet-service models list

clean:
	rm -rf $(VENV) build demo *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(BIN)/python
	$(BIN)/pip install --quiet --retries 0 --timeout 15 --index-url $(TORCH_INDEX) $(TORCH) \
		|| $(BIN)/pip install --quiet $(TORCH)
	touch $@

$(VENV)/.ready: requirements.txt pyproject.toml | $(VENV)/.torch
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(BIN)/pip install --quiet -r requirements-dev.txt
	touch $@
