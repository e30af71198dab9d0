#!/bin/sh
# Makes the machine ready: Python environment, Java, jars. Safe to repeat; does nothing, and needs no network, once done.
set -eu
cd "$(dirname "$0")"
mkdir -p .setup

say() { printf '%s\n' "setup: $*" >&2; }
stop() { printf '%s\n' "[$1] $2" >&2; exit 5; }
may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
apt_install() {
    say "installing $*"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } \
        >.setup/apt.log 2>&1 || stop APT_FAILED "apt-get could not install $*. See .setup/apt.log."
}

java_works() { # Spark 4.2 starts the JVM with this module, which a cut-down Java lacks
    "${JAVA_HOME:+$JAVA_HOME/bin/}java" --add-modules=jdk.incubator.vector -version >/dev/null 2>&1
}
if ! java_works; then
    if [ -n "${JAVA_HOME:-}" ]; then
        stop JAVA_HOME_WRONG "JAVA_HOME=$JAVA_HOME holds no Java 17 or newer that Spark can use. Correct it, or unset it, and repeat."
    fi
    if may_install; then apt_install openjdk-17-jre-headless; fi
    java_works || stop JAVA_MISSING "No Java 17 or newer. Install it (Debian: apt-get install openjdk-17-jre-headless) and repeat."
fi

find_python() {
    for name in python3.11 python3.12 python3.13 python3; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"; return
        fi
    done
}
digest=$(sha256sum requirements.lock | cut -d' ' -f1)
if [ ! -x .venv/bin/python ] || [ "$(cat .setup/requirements 2>/dev/null)" != "$digest" ]; then
    python=$(find_python)
    if [ -z "$python" ] && may_install; then apt_install python3 python3-venv; python=$(find_python); fi
    [ -n "$python" ] || stop PYTHON_MISSING "No Python 3.11 or newer. Install it and repeat."
    say "making .venv with $($python --version), about two minutes"
    if ! "$python" -m venv .venv >.setup/venv.log 2>&1; then
        may_install || stop VENV_FAILED "python -m venv failed. Install python3-venv and repeat; see .setup/venv.log."
        apt_install python3-venv
        "$python" -m venv .venv >.setup/venv.log 2>&1 || stop VENV_FAILED "python -m venv failed; see .setup/venv.log."
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
        >.setup/pip.log 2>&1 || stop PIP_FAILED "pip could not install requirements.lock. See .setup/pip.log."
    printf '%s\n' "$digest" >.setup/requirements
fi

jars=${ACCELERATORS_JARS:-jars}
if ! (cd "$jars" 2>/dev/null && sha256sum --check --quiet "$OLDPWD/shared/core/jars.lock" >/dev/null 2>&1); then
    say "fetching jars"
    .venv/bin/python -m shared.core.jars || exit 5
fi
