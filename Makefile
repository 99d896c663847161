# One word per command; each makes .venv where it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two processes, the one that is done takes tests from the other.
TWO := --numprocesses 2 --dist worksteal
# The same where a file's fixtures are dear: its tests stay together.
TWO_BY_FILE := --numprocesses 2 --dist loadfile

.PHONY: demo test test-deep test-killed test-cluster test-cluster-quick test-gpu check bench bench-gpu soak clean

# Torch first, as pip gives it: on Linux its build for CUDA, which runs without a GPU too. One that is in .venv stays.
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch>=2.9,<2.14"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,bench]"
	touch $(READY)

# The built-in lab: eight cells, searched and confirmed; eight to twelve minutes on two cores.
demo: $(READY)
	$(BIN)/sweep plan lab
	$(BIN)/sweep run lab --storage sweeps

test: $(READY) check
	$(BIN)/python -m pytest $(TWO) tests/pure -m "not gpu"
	$(BIN)/python -m pytest $(TWO) tests/libraries -m "not gpu"
	$(BIN)/python -m pytest $(TWO_BY_FILE) tests/torch_cpu -m "not gpu"
	$(BIN)/python -m pytest $(TWO_BY_FILE) tests/ray_local -m "not gpu and not killed"
	$(BIN)/python -m pytest tests/browser

# Twenty times as many examples of every claim that Hypothesis tries to break.
test-deep: $(READY)
	$(BIN)/python -m pytest $(TWO) tests/pure tests/libraries -m "not gpu" --hypothesis-profile deep

# Whole sweeps that are killed, frozen, stopped or fetched, each in a process of its own.
test-killed: $(READY)
	$(BIN)/python -m pytest $(TWO) tests/ray_local -m killed

# Hosts on this machine, `ray up` on them, losses: root, and the Debian packages iproute2, openssh-server and rsync.
test-cluster: $(READY)
	$(BIN)/python -m pytest tests/cluster

# What CI runs of it: the bring-up, the token, and a host that is powered off while it trains.
test-cluster-quick: $(READY)
	$(BIN)/python -m pytest tests/cluster -m quick

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.all

# Needs a CUDA device: stages, towers and whole sweeps on it, against those on a processor.
test-gpu: $(READY)
	$(BIN)/python -m pytest tests/gpu

# Needs a CUDA device: XLM-R base in bfloat16 against the Hugging Face Trainer, and encoders of the published sizes.
bench-gpu: $(READY)
	$(BIN)/python -m tests.benchmarks.bench_gpu

# Kills a running sweep fifty times, ten of them while it trains, and compares its tables; about half an hour.
soak: $(READY)
	$(BIN)/python -m tests.soak

clean:
	rm -rf $(VENV) build *.egg-info
