# Sourced by the command-line tests: each runs commands and compares exit code, standard output and standard error with
# what is written down, to the letter. $bin is where the commands were built; the script runs in a folder of its own.
# Ends the script with 1 if anything differed.
: "${ANX_BUILD_DIR:?set it to the build folder}" "${ANX_SOURCE_DIR:?set it to the source tree}"
bin=$ANX_BUILD_DIR/tools
work=$(mktemp -d "${TMPDIR:-/tmp}/anx-cli-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM HUP
cd "$work" || exit 2
unset ANX_DATA_DIR NO_COLOR
export LC_ALL=C
: >.failures # a file: what fails at the end of a pipe fails in a shell of its own

fail() {
    echo "FAILED: $*" >&2
    echo failed >>"$work/.failures"
}

# expect CODE COMMAND...: runs it; standard output and error land in $work/.out and .err
expect() {
    wanted=$1
    shift
    last=$*
    code=0
    "$@" >.out 2>.err || code=$?
    if [ "$code" -ne "$wanted" ]; then
        fail "exit $code, expected $wanted: $last"
        sed 's/^/  /' .err >&2
    fi
}

# out / err: the last command's output is exactly standard input.
same() {
    cat >.wanted
    cmp -s .wanted "$1" && return
    fail "$2 of: $last"
    diff -u .wanted "$1" >&2
}
out() { same .out "standard output"; }
err() { same .err "standard error"; }
quiet() { : | out && : | err; }

# damage CHECKPOINT COPY: four other bytes in the middle of the file, where a tensor's values are
damage() {
    cp "$1" "$2"
    printf 'anx!' | dd of="$2" bs=1 seek=$(($(wc -c <"$1") / 2)) conv=notrunc 2>/dev/null || fail "cannot damage $2"
}

finish() {
    [ -s "$work/.failures" ] || exit 0
    echo "$(grep -c . "$work/.failures") expectations failed" >&2
    exit 1
}
