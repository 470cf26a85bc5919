#!/bin/sh
# find_python.sh NAME...: print the first Python of these names that runs; without one, say which others do.
# A number such as 3.12 means python3.12.
# Looks on PATH, then at what pyenv and uv have installed: pyenv's commands refuse all versions but the chosen one.
runs() {
    "$1" -c 'import sys; print(sys.executable)' 2>/dev/null
}

find_python() {
    runs "$1" && return
    case $1 in */*) return 1 ;; esac
    for installed in $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/"$1" \
        "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/*/bin/"$1" 2>/dev/null | sort -rV); do
        runs "$installed" && return
    done
    return 1
}

HOME=${HOME:-/nonexistent}
for name in "$@"; do
    case $name in [0-9]*) name=python$name ;; esac
    find_python "$name" && exit 0
done
for name in python3.14 python3.13 python3.12 python3.11 python3.10; do
    find_python "$name" >/dev/null && there="$there $name"
done
if [ -n "$there" ]; then
    echo "set-up: no $* runs here; choose one that does by make PYTHON=NAME:$there." >&2
else
    echo "set-up: no $* runs here; on Debian and Ubuntu: sudo apt install python3 python3-venv." >&2
fi
exit 1
