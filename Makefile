PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/quickstart_$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: quickstart install check format test test-all bench-data bench-train bench-inference bench-serving lock clean

quickstart: $(VENV)/run.done ## train and evaluate on synthetic corpora, in about a minute
	$(BIN)/python train.py experiment=quickstart output_dir=$(RUN)
	$(BIN)/python evaluate.py ckpt=$(RUN)/checkpoints/best.ckpt
	@echo
	@echo "The run lies in $(RUN). What to type next, after 'source $(BIN)/activate':"
	@echo "  tensorboard --logdir runs              its curves and confusion matrices"
	@echo "  ser predict data/synthetic --ckpt $(RUN)    what it hears in recordings"
	@echo "  python train.py --help                 everything that can be set"
	@echo "  python train.py                        the real thing: four corpora, wav2vec2-large-xlsr-53, a GPU"

install: $(VENV)/dev.done ## everything for working on the project

check: $(VENV)/dev.done ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(VENV)/dev.done
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/dev.done ## the fast tests, on all cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

bench-inference: $(VENV)/dev.done ## speed of predictions, against transformers.pipeline
	$(BIN)/python benchmarks/inference.py

bench-serving: $(VENV)/dev.done ## ser serve under load, against one recording at a time
	$(BIN)/python benchmarks/serving.py

test-all: $(VENV)/dev.done ## the slow ones too
	$(BIN)/pytest -m ""

bench-data: $(VENV)/dev.done ## preparing and loading data beside librosa and datasets: a minute
	@# Later versions of datasets decode with torchcodec, which needs FFmpeg and a CUDA build.
	$(BIN)/pip install --quiet --upgrade --target $(VENV)/bench --no-deps datasets==3.6.0 dill==0.3.8 multiprocess==0.70.16
	$(BIN)/python benchmarks/data.py

bench-train: $(VENV)/dev.done ## training beside what a user would pick instead: half an hour
	$(BIN)/python benchmarks/training.py

$(VENV)/run.done: requirements/run.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing locked versions into $(VENV): about 2 GB, a few minutes the first time"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/run.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.done: $(VENV)/run.done requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.lock
	@touch $@

# soxr below 1 because audiomentations, the augmentation library in view, needs it.
lock: ## write requirements/*.lock anew from pyproject.toml
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --upgrade "setuptools>=77" "torch==2.13.0" "soxr<1"
	$(VENV)-lock/bin/pip install --quiet .
	$(VENV)-lock/bin/pip freeze --exclude ser --exclude pip --all | sed 's/+cpu$$//' > requirements/run.lock
	$(VENV)-lock/bin/pip install --quiet ".[dev]"
	$(VENV)-lock/bin/pip freeze --exclude ser --exclude pip --all | sed 's/+cpu$$//' \
		| grep -vxFf requirements/run.lock > requirements/dev.lock
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) data/synthetic .pytest_cache .ruff_cache .hypothesis
