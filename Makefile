# Everything a newcomer needs: `make demo` and `make test` set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
EDGEKD := $(VENV)/bin/edgekd

.PHONY: demo test test-slow trials trials-short check format wheel data ladder-mnist ladder-mnist-labels ladder-mnist-narrow ladder-cifar10 clean

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --requirement requirements.txt --editable .
	touch $@

demo: $(VENV)/ready
	$(EDGEKD) data mnist5k
	$(EDGEKD) compress edgekd/recipes/mnist.toml
	$(EDGEKD) verify runs/mnist/bundle

# The tables of the README: three seeds of the digits; one run of CIFAR-10, which takes hours.
ladder-mnist: $(VENV)/ready
	$(EDGEKD) data mnist5k
	for seed in 0 1 2; do $(EDGEKD) compress mnist --set seed=$$seed --out runs/mnist-$$seed || exit; done
	$(PY) -m edgekd.benchmarks.ladders runs/mnist-[012] --json benchmarks/results/mnist.json

# The same without the teacher's answers: the plain choice beside it in docs/methods.md.
ladder-mnist-labels: $(VENV)/ready
	$(EDGEKD) data mnist5k
	for seed in 0 1 2; do $(EDGEKD) compress mnist --set seed=$$seed --set steps.0.loss.weight=0.0 --out runs/mnist-labels-$$seed || exit; done
	$(PY) -m edgekd.benchmarks.ladders runs/mnist-labels-[012] --json benchmarks/results/mnist-labels.json

# A student of the pruned widths from the start, with the epochs of distillation and recovery together.
NARROW := steps=[{name="distill", student={build="edgekd.models:convnet", options={widths=[16, 32, 48, 64], classes=10, channels=1}}, train={epochs=18, learning_rate=0.05, batch_size=64}}, {name="quantize", samples=512}]
ladder-mnist-narrow: $(VENV)/ready
	$(EDGEKD) data mnist5k
	for seed in 0 1 2; do $(EDGEKD) compress mnist --set seed=$$seed --set '$(NARROW)' --out runs/mnist-narrow-$$seed || exit; done
	$(PY) -m edgekd.benchmarks.ladders runs/mnist-narrow-[012] --json benchmarks/results/mnist-narrow.json

ladder-cifar10: data
	$(EDGEKD) compress cifar10
	$(PY) -m edgekd.benchmarks.ladders runs/cifar10 --json benchmarks/results/cifar10.json

data: $(VENV)/ready
	$(EDGEKD) data mnist5k cifar10 efficientnet-lite0

test: $(VENV)/ready
	$(EDGEKD) data mnist5k
	$(PY) -m pytest -m "not slow and not gpu"

test-slow: $(VENV)/ready
	$(EDGEKD) data mnist5k cifar10 efficientnet-lite0
	$(PY) -m pytest -m slow

# What the harness claims of itself, measured again (docs/benchmark.md): two hours on a quiet machine.
TRIAL := $(PY) -m edgekd.benchmarks.trials
trials: $(VENV)/ready
	$(TRIAL).coverage --json benchmarks/results/coverage.json
	$(TRIAL).injected --real 20 --json benchmarks/results/injected.json
	$(TRIAL).agreement --json benchmarks/results/agreement.json
	$(TRIAL).overhead --json benchmarks/results/overhead.json
	$(TRIAL).training --json benchmarks/results/training.json
	$(TRIAL).peaks --threads 1,2 --json benchmarks/results/peaks.json
	$(TRIAL).twins --tries 200 --time 10 --claims 16 --steady 190 --json benchmarks/results/twins.json
	$(TRIAL).twins --slower 2 --tries 50 --time 60 --json benchmarks/results/slower.json
	$(TRIAL).baseline --tries 50 --json benchmarks/results/baseline.json

# In CI: 20 equal pairs. With 5 % false alarms, four or more would come once in sixty runs.
trials-short: $(VENV)/ready
	$(TRIAL).twins --tries 20 --time 5 --claims 3

check: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

wheel: $(VENV)/ready
	$(PY) -m build --wheel --outdir dist

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
