#!/bin/sh
# From a fresh checkout to a served model: find a Python and uv, make .venv, install fabric, hand over.
#
#   ./bootstrap.sh [options of `fabric up`]      install and serve
#   ./bootstrap.sh test [options of pytest]      install what the tests need and run them
#   ./bootstrap.sh uninstall                     stop, remove everything that fabric made, and .venv
#
# Everything that this script makes is inside .venv: uv, its cache, an interpreter where the system has none.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
venv=$root/.venv
own=$venv/.fabric

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$2"; exit "$1"; }

missing_python() {
    if command -v apt-get >/dev/null; then echo "apt-get install python3-venv python3-pip"
    elif command -v dnf >/dev/null; then echo "dnf install python3-pip"
    elif command -v apk >/dev/null; then echo "apk add python3 py3-pip"
    elif command -v brew >/dev/null; then echo "brew install python"
    else echo "Python 3.10 or newer with pip, or uv"; fi
}

uninstall() {
    [ -x "$venv/bin/fabric" ] && { "$venv/bin/fabric" destroy --yes || exit $?; }
    [ -d "$own" ] && rm -rf -- "$venv"
    find "$root" -name __pycache__ -type d -prune -exec rm -rf -- {} +
}

# The interpreter for .venv: the system's where it is new enough, else one that uv fetches.
find_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10)); ' 2>/dev/null &&
        python3 -c 'import sys; print(sys.executable)' || echo 3.12
}

# uv: on PATH; else by pip; else by a bare Python from the configured index; else by its own installer.
find_uv() {
    if command -v uv; then return; fi
    if python3 -m pip --version >/dev/null 2>&1; then
        say "getting uv with pip"
        python3 "$root/provision/artifacts/get_uv.py" --requirements >"$own/uv.txt"
        # pip asks rustc for its version, and rustup's rustc would write to HOME
        RUSTUP_HOME=$own/rustup PIP_ROOT_USER_ACTION=ignore python3 -m pip install -qq --disable-pip-version-check \
            --no-cache-dir --no-compile --no-deps \
            --require-hashes --target "$own/uv" --requirement "$own/uv.txt" >&2 ||
            die 69 "pip could not get uv; check the network and the package index"
        echo "$own/uv/bin/uv"
        return
    fi
    status=3
    if command -v python3 >/dev/null; then
        say "getting uv from the package index"
        python3 "$root/provision/artifacts/get_uv.py" "$own/uv/uv" && status=0 || status=$?
    fi
    if [ "$status" = 3 ]; then run_uv_installer; elif [ "$status" != 0 ]; then exit "$status"; fi
    echo "$own/uv/uv"
}

run_uv_installer() {
    say "getting uv with its own installer"
    script=$own/install-uv.sh
    if { curl --proto '=https' -LsSf --connect-timeout 10 -o "$script" https://astral.sh/uv/install.sh ||
        wget -q -T 10 -O "$script" https://astral.sh/uv/install.sh; } 2>/dev/null &&
        UV_UNMANAGED_INSTALL=$own/uv sh "$script" >&2; then return; fi
    die 69 "uv cannot be fetched; install this and run again: $(missing_python)"
}

install() {
    if [ -e "$venv" ] && [ ! -d "$own" ]; then die 77 "$venv was not made by this script; move it away"; fi
    rm -rf -- "$venv"
    mkdir -p "$own"
    uv=$(find_uv)
    export UV_CACHE_DIR="$own/cache" UV_PYTHON_INSTALL_DIR="$own/python"
    "$uv" venv --quiet --allow-existing --no-project --python "$(find_python)" "$venv" ||
        die 69 "no environment could be made; install: $(missing_python)"
    say "installing fabric into $venv"
    uv_flags=
    eval "$("$venv/bin/python" -I "$root/provision/artifacts/pip_settings.py")"
    # shellcheck disable=SC2086 # the flags are words of our own
    "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" $uv_flags --editable "$root$1" ||
        die 69 "fabric could not be installed; check the network and the package index"
    "$venv/bin/python" -m compileall -q "$root/provision"
    rm -rf -- "$own/cache" "$own/uv" "$own/rustup"
}

mode=${1-}
case $mode in test | uninstall) shift ;; *) mode=up ;; esac
if [ "$mode" = uninstall ]; then uninstall; exit 0; fi
wanted="$(cksum <"$root/pyproject.toml") $root"
installed=$(cat "$own/stamp" 2>/dev/null || :)
if [ "$installed" != "$wanted test" ] && { [ "$mode" = test ] || [ "$installed" != "$wanted" ]; }; then
    if [ "$mode" = test ]; then install '[test]'; wanted="$wanted test"; else install ''; fi
    printf '%s' "$wanted" >"$own/stamp"
fi
if [ "$mode" = test ]; then cd "$root"; exec "$venv/bin/python" -m pytest "$@"; fi
exec "$venv/bin/fabric" up "$@"
