# Everything a newcomer needs: `make demo` and `make test` set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
EDGEKD := $(VENV)/bin/edgekd

.PHONY: demo test test-foreign test-slow trials trials-short check format wheel data ladder-mnist ladder-mnist-labels ladder-mnist-narrow ladder-mnist-int8 ladder-cifar10 clean

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --requirement requirements.txt --editable .
	touch $@

demo: $(VENV)/ready
	$(EDGEKD) data mnist5k
	$(EDGEKD) compress edgekd/recipe/shipped/mnist.toml
	$(EDGEKD) verify runs/mnist/bundle

# The tables of the README: three seeds of the digits; one run of CIFAR-10, which takes hours.
ladder-mnist: $(VENV)/ready
	$(EDGEKD) data mnist5k
	for seed in 0 1 2; do $(EDGEKD) compress mnist --set seed=$$seed --out runs/mnist-$$seed || exit; done
	$(PY) -m edgekd.benchmarks.trials.ladders runs/mnist-[012] --json benchmarks/results/mnist.json

# The plain choices beside them in docs/methods.md: the same runs with one thing changed. A copy keeps the teacher and all that the change does not reach.
define beside
for seed in 0 1 2; do \
	[ -d runs/mnist-$(1)-$$seed ] || cp -r runs/mnist-$$seed runs/mnist-$(1)-$$seed; \
	$(EDGEKD) compress mnist --set seed=$$seed --set '$(2)' --out runs/mnist-$(1)-$$seed || exit; done
$(PY) -m edgekd.benchmarks.trials.ladders runs/mnist-$(1)-[012] --json benchmarks/results/mnist-$(1).json
endef

# No teacher's answers: labels alone.
ladder-mnist-labels: ladder-mnist
	$(call beside,labels,steps.0.hard_weight=1.0' --set 'steps.0.terms=[])

# No pruning: a student of the pruned widths from the start, with the epochs of distillation and recovery together.
NARROW := steps=[{name="distill", student={build="edgekd.models:convnet", options={widths=[16, 32, 48, 64], classes=10, channels=1}}, train={epochs=18, learning_rate=0.05, batch_size=64}}, {name="quantize", samples=512}]
ladder-mnist-narrow: ladder-mnist
	$(call beside,narrow,$(NARROW))

# Activations as int8, which ONNX Runtime takes on CPUs but does not fuse well.
ladder-mnist-int8: ladder-mnist
	$(call beside,int8,steps.2.variants=["int8-xnnpack"])

ladder-cifar10: data
	$(EDGEKD) compress cifar10
	$(PY) -m edgekd.benchmarks.trials.ladders runs/cifar10 --json benchmarks/results/cifar10.json

data: $(VENV)/ready
	$(EDGEKD) data mnist5k cifar10 efficientnet-lite0

test: $(VENV)/ready
	$(EDGEKD) data mnist5k onnxruntime-web
	$(PY) -m pytest -m "not slow and not foreign and not gpu and not timing" --numprocesses 2 --dist loadfile
	$(PY) -m pytest -m "timing and not slow and not gpu"

# Every network of the gallery in tests/foreign; few of them are in the default tests, short.
test-foreign: $(VENV)/ready
	$(PY) -m pytest tests/foreign

test-slow: $(VENV)/ready
	$(EDGEKD) data mnist5k cifar10 efficientnet-lite0 reuters-r8 20newsgroups minilm-l6
	$(PY) -m pytest -m slow

# What the harness claims of itself, measured again (docs/benchmark.md): two hours on a quiet machine.
TRIAL := $(PY) -m edgekd.benchmarks.trials
trials: $(VENV)/ready
	$(EDGEKD) data mnist5k
	$(TRIAL).coverage --json benchmarks/results/coverage.json
	$(TRIAL).injected --real 20 --json benchmarks/results/injected.json
	$(TRIAL).agreement --json benchmarks/results/agreement.json
	$(TRIAL).overhead --json benchmarks/results/overhead.json
	$(TRIAL).training --json benchmarks/results/training.json
	$(TRIAL).teacher_cache --json benchmarks/results/teacher-cache.json
	$(TRIAL).input_ahead --json benchmarks/results/input-ahead.json
	$(TRIAL).threads --json benchmarks/results/threads.json
	$(TRIAL).blocks --json benchmarks/results/blocks.json
	$(TRIAL).widths --json benchmarks/results/widths.json
	$(TRIAL).repairs $(if $(LITE0),--lite0 $(LITE0)) --json benchmarks/results/repairs.json
	$(TRIAL).quantize_time --json benchmarks/results/quantize-time.json
	$(TRIAL).normalisation --json benchmarks/results/normalisation.json
	$(TRIAL).calibration --json benchmarks/results/calibration.json
	$(TRIAL).ranges --json benchmarks/results/ranges.json
	$(TRIAL).fusion --json benchmarks/results/fusion.json
	$(TRIAL).variant_runtimes --json benchmarks/results/variants.json
	$(TRIAL).int8_speed --json benchmarks/results/int8-speed.json
	$(TRIAL).tensorrt_layers --more --json benchmarks/results/tensorrt-layers.json
	$(TRIAL).lint_peers --json benchmarks/results/lint-peers.json
	$(TRIAL).peaks --threads 1,2 --json benchmarks/results/peaks.json
	$(TRIAL).twins --tries 200 --time 10 --claims 16 --steady 190 --json benchmarks/results/twins.json
	$(TRIAL).twins --slower 2 --tries 50 --time 60 --precision 0.7 --json benchmarks/results/slower.json
	$(TRIAL).baseline --tries 50 --json benchmarks/results/baseline.json
	$(TRIAL).app
	$(TRIAL).int8_drop --json benchmarks/results/int8-drop.json
	$(TRIAL).slowdown --json benchmarks/results/slowdown.json
	$(TRIAL).foreign_files --json benchmarks/results/foreign-files.json
	$(TRIAL).early_verdicts runs/mnist --json benchmarks/results/early-verdicts.json

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
	$(EDGEKD) schema --out edgekd/recipe/shipped/recipe.schema.json
	$(EDGEKD) schema --markdown --out docs/recipe.md

wheel: $(VENV)/ready
	$(PY) -m build --wheel --outdir dist

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
