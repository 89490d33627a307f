#!/bin/sh
# usage: environment.sh FOLDER EXTRA
# Makes a virtual environment in FOLDER with gridgrad (editable) and one of its extras, at the versions of
# constraints.txt. FOLDER/.ready marks success, so that a broken attempt is made anew.
set -eu
folder=$1
extra=$2
python=${PYTHON:-python3}

fail() {
    echo "gridgrad: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no '$python' here; install Python 3.11 or later, or name one: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Python 3.11 or later is needed: make PYTHON=/path/to/python3"

rm -rf "$folder"
echo "gridgrad: making the environment $folder (this takes a minute or two)"
mkdir -p "$(dirname "$folder")"
"$python" -m venv "$folder" >"$folder.log" 2>&1 || {
    tail -n 5 "$folder.log" >&2
    rm -rf "$folder"
    fail "'$python -m venv' does not work; install the venv module (on Debian and Ubuntu: apt install python3-venv)"
}
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    -c constraints.txt -e ".[$extra]" >"$folder.log" 2>&1 || {
    tail -n 15 "$folder.log" >&2
    fail "the packages could not be installed; the whole log is in $folder.log"
}
touch "$folder/.ready"
