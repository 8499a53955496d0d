# One command does everything on a machine that has Python >= 3.11 and make; nothing else is needed or touched.
# `make PY=/path/to/python` builds with exactly that one; otherwise with the fastest build of python3's version that is here.
PY ?= python3
BUILD := $(if $(filter file,$(origin PY)),$$($(PY) bench/interpreter.py),$(PY))
V := .venv
STAMP := $(V)/.installed
RUN := $(V)/bin/python
# Empty rooms are left out, so that a checkout with one package passes as well as the whole house.
CODE := $(wildcard domain normalizer rules wire connectors outbound storage pipeline api console sandbox bench scheduler.py hub.py tests)
# Machine-wide settings could name a registry host, and uv would write it into a lock.
export UV_NO_CONFIG := 1

.PHONY: install run test check bench live lock

install: $(STAMP)

run: $(STAMP)
	$(RUN) hub.py demo --serve

# Three processes on two cores: tests that wait for a clock or a server leave one to the others.
test: $(STAMP)
	$(RUN) -m pytest -q -n 3 --dist worksteal

check: $(STAMP)
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/mypy $(CODE)
	$(RUN) -m pytest -q tests/test_house.py tests/test_lints.py

bench: $(STAMP)
	$(RUN) hub.py bench

live: $(STAMP)
	$(RUN) hub.py live

# Hashes and versions only: a lock with addresses would tie the project to one registry.
UV := $(V)/boot/bin/uv
LOCK := $(UV) pip compile -q --universal --generate-hashes --no-header --python-version 3.11
lock: $(STAMP)
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) pyproject.toml --group dev -o requirements-dev.lock
	echo uv | $(LOCK) --no-annotate - -o requirements-uv.lock
	$(LOCK) bench/tryton.in -o bench/tryton.lock

# pyproject.toml is not a prerequisite: what to install is in the locks, and an edited lint rule must not rebuild the environment.
$(STAMP): requirements-dev.lock requirements-uv.lock
	$(PY) -c 'import sys; sys.exit(sys.version_info < (3,11) and "Python 3.11+ needed")'
	$(PY) -m venv $(V)/boot
	$(V)/boot/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(UV) venv -q --allow-existing --python "$(BUILD)" $(V)
	$(UV) pip sync -q --compile-bytecode --python $(V)/bin/python --require-hashes requirements-dev.lock
	$(UV) pip install -q --python $(V)/bin/python --no-deps --no-build-isolation -e .
	touch $@
