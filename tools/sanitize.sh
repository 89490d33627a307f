#!/bin/sh
# usage: sanitize.sh ENVIRONMENT
# The tests that need a GPU under compute-sanitizer, which stops at reads and writes beyond what was allocated.
set -eu
tool=$(command -v compute-sanitizer || true)
for folder in "${CUDA_HOME:-/usr/local/cuda}" /usr/local/cuda /opt/cuda; do
    if [ -z "$tool" ] && [ -x "$folder/bin/compute-sanitizer" ]; then
        tool=$folder/bin/compute-sanitizer
    fi
done
if [ -z "$tool" ]; then
    echo "gridgrad: there is no compute-sanitizer here; install the CUDA toolkit, which it comes with, and put it" \
        "on the PATH or name the toolkit: make sanitize-gpu CUDA_HOME=/path/to/cuda" >&2
    exit 1
fi

run() {
    # Errors of CUDA's own functions are left to PyTorch, which asks for some on purpose and raises the others.
    TRITON_INTERPRET=0 "$tool" --error-exitcode 1 --report-api-errors no \
        "$environment/bin/python" -m pytest -m gpu tests/test_gpu.py -k "$1"
}

environment=$1
special="graph or captur or memory"
# Each tensor in an allocation of its own: in PyTorch's blocks nobody sees what is read beyond one.
PYTORCH_NO_CUDA_MEMORY_CACHING=1 run "not ($special)"
# These need those blocks.
run "$special"
