# Every target makes the environment that it needs. PYTHON chooses the interpreter (3.11 or later).
PYTHON ?= python3
ENV = PYTHON="$(PYTHON)" tools/environment.sh
DEMO = .venvs/demo
TEST = .venvs/test
BENCH = .venvs/bench
MANIFEST = pyproject.toml constraints.txt tools/environment.sh

.PHONY: help demo test test-all test-gpu sanitize-gpu stress bench bench-gpu accuracy scaling streaming lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(DEMO)/.ready ## differentiate real terrain and draw it
	@tools/demo.sh $(DEMO)

test: $(TEST)/.ready lint ## format, lint, types and every test
	$(TEST)/bin/pytest -n auto --dist worksteal

test-all: $(TEST)/.ready lint ## the same, and every order, accuracy, edge and grid (ten minutes and more)
	$(TEST)/bin/pytest -n auto --dist worksteal --all

test-gpu: $(TEST)/.ready ## the tests that need a GPU, with a PyTorch that can use it
	TRITON_INTERPRET=0 $(TEST)/bin/pytest -m gpu tests/test_gpu.py

sanitize-gpu: $(TEST)/.ready ## the same under compute-sanitizer, which comes with the CUDA toolkit
	@CUDA_HOME="$(CUDA_HOME)" tools/sanitize.sh $(TEST)

stress: $(TEST)/.ready ## 60 seconds of threads and forked children at the CPU engine together
	$(TEST)/bin/python tests/stress.py --seconds 60

bench: $(BENCH)/.ready ## time everything against its peers and write docs/benchmarks.md
	$(BENCH)/bin/python -m benchmarks

bench-gpu: $(BENCH)/.ready ## measure CUDA tensors and write docs/benchmarks-gpu.md
	$(BENCH)/bin/python -m benchmarks.gpu

accuracy: $(BENCH)/.ready ## measure how accurate results are and write docs/accuracy.md
	$(BENCH)/bin/python -m benchmarks.accuracy

scaling: $(BENCH)/.ready ## measure Dask arrays against size and workers and write docs/scaling.md
	$(BENCH)/bin/python -m benchmarks.scaling

streaming: $(BENCH)/.ready ## measure the command on a store larger than memory and write docs/streaming.md
	$(BENCH)/bin/python -m benchmarks.shell

lint: $(TEST)/.ready ## check format, lint and types
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/ruff check .
	$(TEST)/bin/mypy

format: $(TEST)/.ready ## put the code into the project's format
	$(TEST)/bin/ruff format .
	$(TEST)/bin/ruff check --fix .

clean: ## remove environments, caches and outputs
	rm -rf .venvs .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-output build dist

$(DEMO)/.ready: $(MANIFEST)
	@$(ENV) $(DEMO) cli

$(TEST)/.ready: $(MANIFEST)
	@$(ENV) $(TEST) test

$(BENCH)/.ready: $(MANIFEST)
	@$(ENV) $(BENCH) bench
