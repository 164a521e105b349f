# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the others.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CORE   := $(wildcard ext/framecodec/*.pyx ext/framecodec/*.pxd)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench fuzz clean

help:
	@echo "make demo    run the whole of orbitrack here with a simulated fleet (DEMO_ARGS=\"--exit-after 60\")"
	@echo "make test    the test suite, with a real Kafka and a real ClickHouse engine (TEST_ARGS=\"-k windows\")"
	@echo "make check   lint, types, stubs, definitions"
	@echo "make bench   speed, as ratios against other programs"
	@echo "make fuzz    a minute each of broken datagrams, frames, packets and definitions against the core under ASan and UBSan"
	@echo "make clean   remove the virtual environment and everything built"

$(VENV)/.demo: pyproject.toml $(CORE)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "hint: on Debian: apt-get install python3-venv python3-dev gcc"; exit 1; }
	$(BIN)/pip install --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(VENV)/.test: pyproject.toml $(CORE)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "hint: on Debian: apt-get install python3-venv python3-dev gcc"; exit 1; }
	$(BIN)/pip install --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/pip install --disable-pip-version-check --editable '.[bench]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/orbitrack up --demo $(DEMO_ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest $(TEST_ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check .
	PATH="$(BIN):$$PATH" $(BIN)/cython-lint ext/framecodec     # it runs pycodestyle from the PATH
	$(BIN)/mypy
	MYPYPATH=ext $(BIN)/stubtest framecodec --mypy-config-file pyproject.toml --allowlist ext/stubtest-allowlist.txt \
		--ignore-missing-stub --ignore-disjoint-bases
	$(BIN)/orbitrack --config schemas/demo/orbitrack.toml check

bench: $(VENV)/.bench
	for each in decode frames worker store queries gateway collect; do each=benchmarks/bench_$$each.py; echo "== $$each"; $(BIN)/python $$each || exit 1; done

fuzz: $(VENV)/.test
	for each in rack frames packets definitions; do $(BIN)/python -m tests.fuzz.sanitized $$each --seconds 60 || exit 1; done

clean:
	rm -rf $(VENV) build *.egg-info ext/framecodec/*.c ext/framecodec/*.so orbitrack-data
