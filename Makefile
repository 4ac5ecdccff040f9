VENV := .venv
BIN := $(VENV)/bin
RUN := runs/quickstart_$(shell date +%Y-%m-%d_%H-%M-%S)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
# The first supported interpreter on the PATH; empty if there is none.
PYTHON ?= $(shell for name in python3 python3.13 python3.14 python3.12 python3.11 python; do \
	if command -v $$name >/dev/null && $$name -c '$(SUPPORTED)' 2>/dev/null; then \
	echo $$name; break; fi; done)

.PHONY: quickstart help install check format test test-all docs bench-data bench-train bench-inference \
	bench-serving bench-gpu lock clean python

quickstart: $(VENV)/run.done ## train and evaluate on synthetic corpora, in about a minute
	$(BIN)/ser train experiment=quickstart output_dir=$(RUN)
	$(BIN)/ser evaluate ckpt=$(RUN)
	@echo
	@echo "The run is in $(RUN). Next, after 'source $(BIN)/activate':"
	@echo "  tensorboard --logdir runs                    learning curves and confusion matrices"
	@echo "  ser predict data/synthetic/savee --ckpt $(RUN)     predict the emotion in recordings"
	@echo "  ser train --help                             all settings"
	@echo "  ser train                                    four corpora, wav2vec2-large-xlsr-53, on a GPU"

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{ printf "%-17s %s\n", $$1, $$2 }'

install: $(VENV)/dev.done ## everything for working on the project

check: $(VENV)/dev.done ## format, lint, imports, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/dev.done
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/dev.done ## the fast tests, on all cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

test-all: $(VENV)/dev.done ## the slow tests too
	$(BIN)/pytest -m ""

docs: $(VENV)/dev.done ## the documentation as a site in build/site; broken links fail
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench-inference: $(VENV)/dev.done ## speed of predictions, compared with transformers.pipeline
	$(BIN)/python benchmarks/inference.py

bench-gpu: $(VENV)/dev.done ## training and prediction on a GPU; in miniature without one
	$(BIN)/python benchmarks/gpu.py

bench-serving: $(VENV)/dev.done ## ser serve under load, compared with one recording at a time
	$(BIN)/python benchmarks/serving.py

bench-data: $(VENV)/dev.done ## data preparation and loading, compared with librosa and datasets
	@# Later versions of datasets decode with torchcodec, which needs FFmpeg and a CUDA build.
	$(BIN)/pip install --quiet --upgrade --target $(VENV)/bench --no-deps datasets==3.6.0 dill==0.3.8 multiprocess==0.70.16
	$(BIN)/python benchmarks/data.py

bench-train: $(VENV)/dev.done ## training, compared with the Hugging Face Trainer: half an hour
	$(BIN)/python benchmarks/training.py

python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(SUPPORTED)'; then \
		echo "Python 3.11 to 3.14 is needed, and $(or $(PYTHON),python3) is not one of them." \
			"Install one, or name one: make quickstart PYTHON=python3.13" >&2; exit 1; fi

$(VENV)/run.done: requirements/run.lock pyproject.toml
	@$(MAKE) --no-print-directory python
	$(PYTHON) -m venv $(VENV)
	@echo "Installing locked versions into $(VENV): about 2 GB, a few minutes the first time"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/run.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.done: $(VENV)/run.done requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.lock
	@touch $@

# soxr below 1, because audiomentations requires it.
lock: python ## rewrite requirements/*.lock from pyproject.toml
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --upgrade "setuptools>=77" "hatchling>=1.27" "torch==2.13.0" "soxr<1"
	$(VENV)-lock/bin/pip install --quiet .
	$(VENV)-lock/bin/pip freeze --exclude speech-emotion --exclude pip --all | sed 's/+cpu$$//' > requirements/run.lock
	$(VENV)-lock/bin/pip install --quiet ".[dev]"
	$(VENV)-lock/bin/pip freeze --exclude speech-emotion --exclude pip --all | sed 's/+cpu$$//' \
		| grep -vxFf requirements/run.lock > requirements/dev.lock
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) build data/synthetic .pytest_cache .ruff_cache .hypothesis
