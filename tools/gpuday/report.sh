# shellcheck shell=bash
# shellcheck disable=SC2154 # out, steps, minutes, verdict, on: tools/gpu-day's, which sources this
# The report of tools/gpu-day as JSON, by the shell alone: a bare machine has no tool for it. What a step measured is a
# JSON file already, and stands in the report as it is.

# json_text TEXT: quoted; what is not ASCII becomes '?'
json_text() {
    local text
    text=$(printf '%s' "$1" | LC_ALL=C tr -c '\11\12\40-\176' '?')
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\t'/ }
    printf '"%s"' "${text//$'\n'/\\n}"
}

# json_or_null TEXT: a number or other JSON as it is, null where there is none
json_or_null() { printf '%s' "${1:-null}"; }

report_rows=() report_begun="" report_commit="" report_changed=false

# What is built and asked: the sources as they are now.
report_begin() {
    report_begun=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    report_commit=$(git rev-parse HEAD 2>/dev/null)
    [ -z "$report_commit" ] || git diff --quiet HEAD 2>/dev/null || report_changed=true
}

# report_step NAME VERDICT SECONDS LIMIT: and the end of its log, where it did not pass
report_step() {
    local tail=""
    [ "$2" = passed ] || tail=$(tail -n 20 "$out/$1.log" 2>/dev/null | cut -c1-500)
    report_rows+=("{\"name\": $(json_text "$1"), \"verdict\": $(json_text "$2"), \"seconds\": $3, \"limit\": $4, \
\"log\": $(json_text "$tail")}")
}

# report_write FILE
report_write() {
    local file=$1 name separator=""
    {
        printf '{"verdict": %s, "on": %s, "begun": %s, "seconds": %d, "minutes": %d,\n' "$(json_text "$verdict")" \
            "$(json_text "$on")" "$(json_text "$report_begun")" "$SECONDS" "$minutes"
        printf '"commit": %s, "changed": %s,\n"steps": [' "$(json_text "$report_commit")" "$report_changed"
        for name in ${report_rows[@]+"${report_rows[@]}"}; do
            printf '%s\n%s' "$separator" "$name"
            separator=,
        done
        printf ']'
        for name in "${steps[@]}"; do
            [ -s "$out/$name.json" ] || continue
            printf ',\n%s: ' "$(json_text "$name")"
            cat "$out/$name.json"
        done
        printf '}\n'
    } >"$file.part" && mv "$file.part" "$file"
}
