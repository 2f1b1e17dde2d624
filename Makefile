# `make demo` and `make test` are all a fresh machine needs besides Python >= 3.10 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
FIND_UV := command -v uv || ls $(BIN)/uv 2>/dev/null

.PHONY: demo test test-min lint audit verify bench backbones kill-test fuzz readme constraints clean
.DELETE_ON_ERROR:

demo: $(VENV)/.lab
	$(BIN)/attnzoo compare se eca cbam simam --backbone resnet20 --data digits --seeds 2 --out runs/demo

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n auto

# The whole suite on the oldest versions that pyproject.toml allows, in an environment of its own.
test-min: $(VENV)/.dev
	$(PYTHON) -m venv $(VENV)-min
	uv=$$($(FIND_UV)) && VIRTUAL_ENV=$(VENV)-min "$$uv" pip install --quiet --resolution lowest-direct --editable '.[dev]'
	$(VENV)-min/bin/python -m pytest -n auto

verify: $(VENV)/.dev
	$(BIN)/attnzoo verify --full --jobs 2 --json results/verify.json

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/memory.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/loop.py

# Where placements by meaning put modules in the networks of others: results/backbones.json.
backbones: $(VENV)/.dev
	$(BIN)/python benchmarks/backbones.py

# Training runs killed at random moments must end bit-equal to one left alone: results/kill-test.txt.
kill-test: $(VENV)/.lab
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/kill_test.py

# Damaged files at every reader, five minutes each.
fuzz: $(VENV)/.dev
	$(BIN)/python benchmarks/fuzz.py 300

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known vulnerabilities of the tested set; a package that cannot be looked up fails, too.
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

readme: $(VENV)/.dev
	$(BIN)/python tools/readme.py

# What the tested set is made of: names, versions and markers, no addresses.
constraints: $(VENV)/.dev
	uv=$$($(FIND_UV)) && "$$uv" pip compile --universal --python-version 3.10 --all-extras --no-annotate --no-header \
		pyproject.toml --output-file constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-min $(VENV)-audit .mypy_cache .ruff_cache .pytest_cache

# uv installs torch in seconds; where neither uv nor its package is to be had, pip does it in minutes.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	@$(if $(UV),true,$(BIN)/pip install --quiet uv || true)

$(VENV)/.lab: EXTRA := lab
$(VENV)/.dev: EXTRA := dev
$(VENV)/.bench: EXTRA := bench
$(VENV)/.lab $(VENV)/.dev $(VENV)/.bench: $(VENV)/bin/python pyproject.toml constraints.txt
	@if uv=$$($(FIND_UV)); then \
		echo "installing attnzoo[$(EXTRA)] with uv"; \
		VIRTUAL_ENV=$(VENV) "$$uv" pip install --quiet --constraint constraints.txt --editable '.[$(EXTRA)]'; \
	else \
		echo "installing attnzoo[$(EXTRA)] with pip"; \
		$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRA)]'; \
	fi
	@touch $@
