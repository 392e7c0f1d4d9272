# Two commands do everything on a fresh machine: `make demo` and `make test`. Set-up happens by itself, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.medaegis-ready

.PHONY: demo test test-slow check bench clean

demo: $(READY)
	$(BIN)/medaegis demo

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(READY)
	$(BIN)/python benchmarks/attack_step.py

# uv where it is installed, else venv + pip. The constraints hold exact versions; torch and torchvision come as a pair from one index.
$(READY): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  { test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV); } && \
	  uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . --group dev; \
	else \
	  { test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); } && \
	  $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev; \
	fi
	@touch $@

clean:
	rm -rf $(VENV) runs dist
