# Two commands for a fresh machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BACKENDS = jax tensorflow torch
RUN = TF_CPP_MIN_LOG_LEVEL=2 OMP_NUM_THREADS=1

.PHONY: demo docs test lint bench mutants clean $(BACKENDS:%=test-%)

$(VENV)/demo: pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c requirements.txt -e '.[jax]'
	touch $@

$(VENV)/test: pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	# torch first, so that nothing else picks its version
	$(BIN)/pip install -q "$$(grep '^torch==' requirements.txt)"
	$(BIN)/pip install -q -c requirements.txt -e '.[jax,dev]' tensorflow-cpu
	touch $@ $(VENV)/demo

demo: $(VENV)/demo
	$(BIN)/lipkit demo moons

test: $(BACKENDS:%=test-%)

$(BACKENDS:%=test-%): test-%: $(VENV)/test
	KERAS_BACKEND=$* $(RUN) $(BIN)/python -m pytest -q -p no:cacheprovider tests

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(VENV)/test
	KERAS_BACKEND=jax taskset -c 0 $(BIN)/python benchmarks/moons_step.py
	KERAS_BACKEND=jax $(BIN)/python benchmarks/certify_speed.py

# executes the code of every page: some minutes
docs: $(VENV)/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "see build/site/index.html, or run $(BIN)/mkdocs serve"

mutants: $(VENV)/test
	$(BIN)/pip install -q -c requirements.txt mutmut
	KERAS_BACKEND=torch $(RUN) $(BIN)/mutmut run
	$(BIN)/mutmut results

clean:
	rm -rf $(VENV) lipkit-demo mutants
