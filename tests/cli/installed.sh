#!/bin/sh
# What `cmake --install` puts where: the commands, their manual pages (which troff takes without a warning), the data,
# and nothing that is for developers. That a moved installation finds its data is parity_check.sh's matter.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"

expect 0 cmake --install "$ANX_BUILD_DIR" --prefix "$work/prefix"
for command in anx-parity anx-convert anx-eval anx-train; do
    expect 0 "prefix/bin/$command" --version
    grep -q "^$command [0-9]" .out || fail "$command --version says: $(cat .out)"
    page=$(find prefix -name "$command.1")
    [ -n "$page" ] || fail "no manual page $command.1"
    if command -v groff >/dev/null; then
        expect 0 groff -man -Tutf8 -ww -z "$page"
        quiet
    fi
done
[ -e prefix/bin/anx-bench ] && fail "the benchmark is for developers and was installed"
for file in fixtures/MANIFEST.json fixtures/alexnet-seed0.safetensors fixtures/imagenet_classes.tsv report.schema.json \
    devices.schema.json eval_report.schema.json inspect.schema.json verify.schema.json train_outcome.schema.json BIN-FORMAT.md; do
    find prefix -path "*/share/anx/$file" | grep -q . || fail "share/anx/$file was not installed"
done
finish
