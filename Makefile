# Two commands do everything on a fresh machine: `make demo` and `make test`. Set-up happens by itself, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.medaegis-ready
GROUPS := --group dev

.PHONY: demo tiny pages test test-slow test-peers run-peers check bench bench-peers clean

demo: $(READY)
	$(BIN)/medaegis demo

# Every table and figure of the papers on synthetic images, each stage once.
tiny: $(READY)
	$(BIN)/medaegis run all --tiny --quiet --out runs/tiny

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The pages of the stored results, in docs/results: nothing is computed again.
pages: $(READY)
	rm -rf docs/results && mkdir -p docs/results && cp -r results/0.1.0/. docs/results
	$(BIN)/medaegis report docs/results
	find docs/results -type f ! -name '*.html' -delete

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# The other toolboxes pin old packages, so they get an environment of their own.
test-peers:
	$(MAKE) VENV=.venv-peers GROUPS='--group dev --group peers' run-peers

run-peers: $(READY)
	$(BIN)/python -m pytest tests/peers
	PYTHONPATH=tests $(BIN)/python -m peers.report

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(READY)
	$(BIN)/python benchmarks/attack_step.py
	$(BIN)/python benchmarks/attack_step.py --model resnet18 --size 64 --batch 32

bench-peers:
	$(MAKE) VENV=.venv-peers GROUPS='--group dev --group peers' bench

# By uv, which pip brings where it is missing; by pip where uv finds nothing (an index that only pip's own settings name). The constraints
# hold exact versions; torch and torchvision come as a pair from one index.
WHAT := --quiet --constraint constraints.txt --editable . $(GROUPS)
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV) 2>/dev/null || $(PYTHON) -m venv $(VENV)
	@uv=$$(command -v uv) || { uv=$(BIN)/uv; $(BIN)/python -m pip install --quiet --constraint constraints.txt uv || true; }; \
	$$uv pip install --python $(BIN)/python $(WHAT) || \
	  { $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && $(BIN)/python -m pip install $(WHAT); }
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers runs dist
