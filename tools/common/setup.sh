# shellcheck shell=bash
# shellcheck disable=SC2034 # the lists are for those who source this
# Sourced by tools/quickstart, tools/run-tests and .ci/run: which Debian packages are needed, and how to get them.

# What building and running anx takes; CUnit is for the tests.
anx_build_packages=(gcc libc6-dev cmake ninja-build pkg-config libdnnl-dev libzip-dev libcjson-dev libjpeg-dev libpng-dev
    libssl-dev zlib1g-dev libarchive-dev)
anx_test_packages=(libcunit1-dev)

say() { printf '%s\n' "$*" >&2; }

# Names of those packages among "$@" that are not installed.
anx_missing_packages() {
    local name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || printf '%s\n' "$name"
    done
}

# Installs what is missing of "$@". Asks first on a terminal only. Exit status 2 where it cannot.
anx_install_packages() {
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "This is not Debian or Ubuntu; nothing is installed. Needed are the development files of: $*"
        return 0
    fi
    local missing sudo=()
    mapfile -t missing < <(anx_missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && ! [ -t 0 ]; }; then
            say "These packages are missing, and installing them needs root:"
            say "    apt-get install ${missing[*]}"
            return 2
        fi
        sudo=(sudo)
    fi
    if [ -t 0 ] && [ -t 2 ] && [ "${ANX_YES:-0}" != 1 ]; then
        local answer
        read -r -p "Install with apt: ${missing[*]} [Y/n] " answer
        case "$answer" in
        "" | [yY]*) ;;
        *)
            say "Not installed. By hand: apt-get install ${missing[*]}"
            return 2
            ;;
        esac
    fi
    say "Installing: ${missing[*]}"
    local log
    log=$(mktemp)
    # Another apt at work is waited for, two minutes; a source that does not answer need not be one that is needed.
    local tries=24
    until "${sudo[@]}" apt-get update >"$log" 2>&1; do
        if [ $((--tries)) = 0 ] || ! grep -q 'Could not get lock\|Unable to lock' "$log"; then
            say "apt-get update failed in part; going on with what is known."
            break
        fi
        sleep 5
    done
    if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "${missing[@]}" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "apt failed (its whole output: $log). By hand: apt-get install ${missing[*]}"
        return 2
    fi
    rm -f "$log"
}

# anx_build PRESET[:TARGET] [cmake -D options...]: configures where needed and builds, all or a target; quiet unless
# something goes wrong.
anx_build() {
    local preset=${1%%:*} target=${1#*:} log
    [ "$target" != "$1" ] || target=all
    shift
    log=$(mktemp)
    if ! { cmake --preset "$preset" "$@" && cmake --build --preset "$preset" --target "$target"; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 2
    fi
    grep -E 'warning:' "$log" >&2 || true
    rm -f "$log"
}

# The commands in build/release. Tests are not built the first time (they need CUnit); a folder in which they were
# stays as it is.
anx_build_commands() {
    local options=()
    [ -e build/release/CMakeCache.txt ] || options=(-DANX_TESTS=OFF)
    anx_build release ${options[@]+"${options[@]}"}
}
