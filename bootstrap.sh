#!/bin/sh
# From a fresh checkout to a served model: find a Python and uv, make .venv, install fabric, hand over.
#   ./bootstrap.sh [options of `fabric up`]           install and serve
#   ./bootstrap.sh test [options of pytest]           install what the tests need and run them
#   ./bootstrap.sh uninstall [options of `destroy`]   stop, remove all that fabric made, and .venv with all in it
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
venv=$root/.venv own=$root/.venv/.fabric lock=$root/.venv.lock

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$2"; exit "$1"; }

# A step is quiet; should it fail, what it said becomes one line.
attempt() {
    said=$("$@" 2>&1) || { set -- "$?" && said=$(printf %s "$said" | tr -s '\n ' ' ' | cut -c 1-900) && return "$1"; }
}

what_to_install() {
    for line in "apt-get install python3-venv python3-pip" "dnf install python3-pip" "apk add py3-pip" "brew install uv"
    do if command -v "${line%% *}" >/dev/null; then echo "install this and run again: $line"; return; fi; done
    echo "install Python 3.10 or newer with pip, or uv, and run again"
}

# Only one run at a time changes .venv; the lock of a run that was killed is taken over.
take_lock() {
    until why=$(LC_ALL=C ln -s "$$" "$lock" 2>&1); do
        case $why in *"File exists"*) ;; *) die 73 "cannot write: $why; use another checkout" ;; esac
        kill -0 "$(readlink "$lock")" 2>/dev/null || rm -f -- "$lock"
        sleep 1
    done
    trap 'rm -f -- "$lock"' EXIT && trap 'exit 130' INT && trap 'exit 143' TERM HUP
}

# Print how to call uv: from PATH, else by a Python and the package index, else by uv's own installer.
find_uv() {
    case $(uv --version 2>/dev/null) in '' | 'uv 0.'[0-8].*) ;; *) echo uv; return ;; esac
    status=3
    if python3 -c 'import sys, http.client; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
        say "getting uv from the package index"
        attempt python3 -B "$root/provision/artifacts/get_uv.py" "$own/uv" && status=0 || status=$?
    fi
    case $status in 0) ;; 3) run_uv_installer ;; *) die "$status" "$said" ;; esac
    echo "$own/uv/uv"
}

run_uv_installer() {
    url=https://astral.sh/uv/$(sed -n 's/.*"version": "\(.*\)".*/\1/p' "$root/profiles/uv.json")/install.sh
    say "getting uv with its own installer"
    { curl -LsSf --connect-timeout 10 -o "$own/uv.sh" "$url" || wget -qt1 -T10 -O "$own/uv.sh" "$url"; } 2>/dev/null ||
        die 69 "no package index is named, and $url cannot be fetched; $(what_to_install)"
    attempt env UV_UNMANAGED_INSTALL="$own/uv" sh "$own/uv.sh" || die 69 "uv's installer: $said; $(what_to_install)"
}

install() (
    export TMPDIR="$own/tmp" UV_CACHE_DIR="$own/cache" UV_PYTHON_INSTALL_DIR="$own/python"
    [ ! -e "$venv" ] || [ -d "$own" ] || die 77 "$venv was not made by this script; move it away and run again"
    # A whole environment is brought up to date in place, because a server may run from it.
    [ -x "$venv/bin/python" ] && [ "${installed#* * * }" = "$root" ] || rm -rf -- "$venv"
    mkdir -p "$own/tmp" && { [ ! -f "$own/stamp" ] || echo unfinished >"$own/stamp"; }
    uv=$(find_uv)
    say "installing fabric into $venv, from the package index"
    python=$(python3 -c 'import sys; print(sys.executable if sys.version_info >= (3, 10) else "")' 2>/dev/null || :)
    set -- venv --quiet --allow-existing --no-project
    attempt "$uv" "$@" --no-python-downloads --python "${python:->=3.10}" "$venv" &&
        attempt "$venv/bin/python" -c 'import ctypes, http.client, json, ssl' ||
        attempt "$uv" "$@" --managed-python --python 3.13 "$venv" || die 69 "no Python 3.10+: $said; $(what_to_install)"
    eval "$("$venv/bin/python" -I -B "$root/provision/artifacts/pip_settings.py" || echo exit 1)"
    for wheel in "$own"/uv/*.whl; do [ -f "$wheel" ] || wheel=; done # fetched once is enough
    set -- --quiet --directory "$root" --python "$venv/bin/python" --editable "$target" ${wheel:+"$wheel"}
    # shellcheck disable=SC2154,SC2086 # the assignment of uv_flags was just evaluated; they are words of our own
    attempt "$uv" pip install ${PYTHONDONTWRITEBYTECODE:+--compile-bytecode} $uv_flags "$@" || {
        code=69 hint="check the network and pip's settings"
        case $said in *"o space left"* | *"ermission denied"*) code=73 hint="free some space, or allow to write" ;; esac
        die "$code" "fabric cannot be installed: $said; $hint, and run again"
    }
    "$venv/bin/python" -m compileall -q "$root/provision" >/dev/null || : # no later start has to, whoever runs it
    rm -rf -- "$own/cache" "$own/uv" "$own/tmp" && printf '%s %s' "$mode" "$wanted" >"$own/stamp"
)

is_installed() {
    installed=$(cat "$own/stamp" 2>/dev/null) || installed=
    [ -x "$venv/bin/python" ] && case $installed in "test $wanted" | "$mode $wanted") ;; *) return 1 ;; esac
}

uninstall() {
    [ -d "$own" ] || die 0 "nothing to remove: $venv was not made by this script"
    if [ -f "$own/stamp" ]; then "$venv/bin/fabric" destroy --yes "$@" || exit $?; fi
    cd "$root" && rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
    find . -name __pycache__ -type d -prune -exec rm -rf -- {} +
}

mode=run target=.
case ${1-} in test) mode=test target='.[test]'; shift ;; uninstall) shift; take_lock; uninstall "$@"; exit 0 ;; esac
wanted="$(cksum <"$root/pyproject.toml") $root"
if ! is_installed; then take_lock; is_installed || install; rm -f -- "$lock"; fi
[ "$mode" = test ] || exec "$venv/bin/fabric" up "$@"
cd "$root" && mkdir -p "$own/pytest"
PYTEST_DEBUG_TEMPROOT=$own/pytest exec "$venv/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
