#!/usr/bin/env bash
# steps.sh STEP: one step of tools/gpu-day, which has exported where everything is (out, build, weights, store, python,
# double, quick) and looks after the time. What is measured goes to $out/STEP.json. Exit status 77: it could not be done
# here, and why is the last line said.
# shellcheck disable=SC2154
set -uo pipefail
. tools/common/setup.sh
. tools/gpuday/report.sh

cannot() {
    echo "$*"
    exit 77
}

# put STEP: stdin as its JSON, whole or not at all
put() { cat >"$out/$1.part" && mv "$out/$1.part" "$out/$1.json"; }

sees_gpu() { # PyTorch
    [ -n "$python" ] && "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null
}

# ---- building ------------------------------------------------------------------------------------------------
packages() { anx_install_packages "${anx_build_packages[@]}" "${anx_test_packages[@]}"; }
build() { anx_build release -DANX_TESTS=ON; }
weights() { [ -s "$weights" ] || "$build/tools/anx-convert" init --arch alexnet --seed 0 -o "$weights"; }

# ---- the machine ---------------------------------------------------------------------------------------------

# "driver VERSION" and a line for each GPU, "gpu CAPABILITY BYTES NAME": from the driver itself, or from nvidia-smi,
# which says "CUDA Version" up to drivers 600, "CUDA UMD Version" after.
driver() {
    "$build/tests/cuda/gpu_driver" 2>/dev/null && return
    nvidia-smi 2>/dev/null | sed -n 's/.*CUDA \(UMD \)\{0,1\}Version: *\([0-9]*\)\.\([0-9]\).*/driver \20\30/p' | head -1
    nvidia-smi --query-gpu=compute_cap,memory.total,name --format=csv,noheader,nounits 2>/dev/null |
        while IFS=, read -r capability mib name; do
            [[ $capability =~ ^[0-9]+\.[0-9]+$ ]] && echo "gpu $capability $((mib * 1048576)) ${name# }"
        done
}

machine() {
    local version="" gpus="" separator="" kind rest capability bytes name system
    system=$(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")
    date -u
    uname -a
    echo "$system"
    grep -m1 'model name' /proc/cpuinfo
    nvidia-smi || echo "no nvidia-smi"
    driver
    while read -r kind rest; do
        case $kind in
        driver) version=$((rest / 1000)).$((rest % 1000 / 10)) ;;
        gpu)
            read -r capability bytes name <<<"$rest"
            gpus+="$separator{\"name\": $(json_text "$name"), \"capability\": \"$capability\", \"memory_bytes\": $bytes}"
            separator=", "
            ;;
        esac
    done < <(driver)
    rm -f "$out/pytorch.part"
    if [ -n "$python" ]; then
        "$python" - >"$out/pytorch.part" <<'PYTHON' || rm -f "$out/pytorch.part"
import json, torch
there = torch.cuda.is_available()
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
                  "gpu": torch.cuda.get_device_name(0) if there else None}))
PYTHON
        cat "$out/pytorch.part"
    fi
    {
        printf '{"system": %s, "kernel": %s, ' "$(json_text "$system")" "$(json_text "$(uname -r)")"
        printf '"processor": %s, ' "$(json_text "$(sed -n 's/^model name[^:]*: //p;T;q' /proc/cpuinfo)")"
        printf '"processors": %d, "memory_kib": %d, ' "$(nproc)" "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
        printf '"driver_cuda": %s, ' "$(json_or_null "${version:+\"$version\"}")"
        printf '"gpus": [%s], "pytorch": %s}\n' "$gpus" "$(json_or_null "$(cat "$out/pytorch.part" 2>/dev/null)")"
    } | put machine
    rm -f "$out/pytorch.part"
    if [ -n "$double" ]; then echo "on the test double"; fi
}

# ---- NVIDIA's libraries --------------------------------------------------------------------------------------
has_gpu() { "$build/tools/anx-parity" devices | grep -q '^auto  *cuda'; }

# The newest generation of CUDA that driver and every GPU take: the driver's own, and 12 below compute capability 7.5.
generation() {
    local version lowest
    version=$(driver | sed -n 's/^driver //p')
    lowest=$(driver | sed -n 's/^gpu \([0-9]*\)\.\([0-9]\) .*/\1\2/p' | sort -n | head -1)
    [ -n "$version" ] || return 1
    if [ "$version" -ge 13000 ] && [ "${lowest:-99}" -ge 75 ]; then
        echo 13
    elif [ "$version" -ge 12000 ]; then
        if [ "${lowest:-99}" -ge 75 ]; then echo 12; else echo 12 old; fi
    elif [ "$version" -ge 11000 ]; then
        echo 11
    else
        return 1
    fi
}

have_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null || anx_install_packages python3-venv; }

# From PyPI, libraries and headers, for later steps to find; each generation in a folder of its own.
fetch_libraries() {
    local major old=""
    read -r major old < <(generation) || true
    case ${major:-} in
    13) set -- "nvidia-cuda-runtime==13.*" "nvidia-cublas==13.*" "nvidia-cudnn-cu13==9.*" "nvidia-cuda-crt==13.*" ;;
    12) # cuDNN 9.11 and later leave out GPUs below 7.5.
        set -- "nvidia-cuda-runtime-cu12==12.*" "nvidia-cublas-cu12==12.*" "nvidia-cudnn-cu12==9.${old:+10.}*" \
            "nvidia-cuda-nvcc-cu12==12.*"
        ;;
    11)
        set -- "nvidia-cuda-runtime-cu11==11.*" "nvidia-cublas-cu11==11.*" "nvidia-cudnn-cu11==8.*" \
            "nvidia-cuda-nvcc-cu11==11.*"
        ;;
    *) echo "no driver says for which CUDA it is made" && return 1 ;;
    esac
    echo "from PyPI into $store/nvidia-$major: $*"
    have_venv && python3 -m venv "$store/nvidia-$major" && "$store/nvidia-$major/bin/pip" install -q "$@" &&
        use "$store/nvidia-$major"
}

# use ENVIRONMENT: its packages, for this step and, by way of found.txt, the later ones: no other place is looked in
use() {
    local folder places=""
    for folder in "$1"/lib/python3*/site-packages/nvidia/{cu13,cuda_runtime,cublas,cudnn}/lib; do
        [ -d "$folder" ] && places+=${places:+:}$folder
    done
    [ -n "$places" ] || return 1
    export VIRTUAL_ENV=$1 ANX_CUDA_PATH=$places
    has_gpu && printf '%s\n%s\n' "$1" "$places" >"$out/found.txt"
}

libraries() {
    rm -f "$out/found.txt"
    # What the caller has named with ANX_CUDA_PATH is what is meant, and is not replaced.
    if ! has_gpu && [ -z "${ANX_CUDA_PATH:-}" ]; then
        # In children: what does not help leaves nothing behind.
        { [ -n "$python" ] && (use "$("$python" -c 'import sys; print(sys.prefix)')"); } || (fetch_libraries)
    fi
    if [ -s "$out/found.txt" ]; then
        { read -r VIRTUAL_ENV && read -r ANX_CUDA_PATH; } <"$out/found.txt"
        export VIRTUAL_ENV ANX_CUDA_PATH
    fi
    "$build/tools/anx-parity" devices --json "$out/libraries.json"
    has_gpu && return
    echo "refused:"
    "$build/tools/anx-parity" devices | sed -n '/^cpu /q;p'
    return 1
}

headers() {
    local rc
    # Where there are none this step has been left out, not failed.
    export ANX_TESTS_NO_SKIP=0
    bash tests/cuda/headers.sh "${CC:-cc}" "$PWD"
    rc=$?
    if [ $rc != 77 ] || [ -n "$double" ] ||
        ! compgen -G "${VIRTUAL_ENV:-/nowhere}/lib/python3*/site-packages/nvidia/cu13/include" >/dev/null; then
        return $rc
    fi
    echo "from PyPI into $store/nvidia-headers: nvidia-cuda-crt"
    have_venv && python3 -m venv "$store/nvidia-headers" &&
        "$store/nvidia-headers/bin/pip" install -q --no-deps "nvidia-cuda-crt==13.*" || return 77
    CPATH=$(echo "$store"/nvidia-headers/lib/python3*/site-packages/nvidia/cu13/include) \
        bash tests/cuda/headers.sh "${CC:-cc}" "$PWD"
}

functions() {
    [ -z "$double" ] || cannot "the test double is not NVIDIA's libraries"
    "$build/tests/cuda/test_cuda_real_libraries"
}

# ---- the device ----------------------------------------------------------------------------------------------
on=cuda
questions() { "$build/tests/cuda/gpu_questions" "$out/questions.json"; }
conformance() { "$build/tests/test_conformance" $on --math "$1"; }
trainer() { "$build/tests/cuda/test_cuda_training"; }

sanitizer() {
    local tool
    [ -z "$double" ] || cannot "the test double has no work on a GPU to look at"
    for tool in "$(command -v compute-sanitizer)" "${CUDA_HOME:-}/bin/compute-sanitizer" \
        /usr/local/cuda/bin/compute-sanitizer; do
        if [ -x "$tool" ]; then
            "$tool" --error-exitcode 9 "$build/tests/cuda/cuda_life"
            return
        fi
    done
    cannot "no compute-sanitizer here"
}

overhead() {
    local us
    # On the double: what the calls cost the host, once the plan is made.
    [ -z "$double" ] || export FAKECUDA_COMPUTE=200
    us=$("$build/tests/cuda/cuda_steady" infer 200) || return
    echo "$us microseconds for a forward pass at batch 1"
    echo "{\"forward_batch_1_us\": $us}" | put overhead
}

# check STEP OPTION...
check() {
    local step=$1
    shift
    "$build/tools/anx-parity" check --device $on --json "$out/$step.json" "$@" "$weights"
}

parity() {
    if [ "$quick" = 1 ]; then check parity; else check parity --full; fi
}

fixture() {
    [ -n "$python" ] || cannot "no --python"
    sees_gpu || cannot "the PyTorch of $python sees no GPU"
    "$python" tools/record-fixtures --device cuda --weights "$weights" --out "$out/fixture.safetensors" --force \
        --image fixtures/images/{cat,astronaut,coffee,hopper}.jpg || return
    check fixture --fixtures "$out/fixture.safetensors"
}

# ---- images --------------------------------------------------------------------------------------------------

# Into FOLDER, by classes of ImageNet.
sort_images() {
    mkdir -p "$1/n02123045" "$1/n02504458" || return
    cp fixtures/images/cat*.jpg "$1/n02123045" && cp fixtures/images/astronaut*.jpg "$1/n02504458" || return
    [ "$quick" = 1 ] || cp fixtures/images/{brick,coffee*,galaxies*,grass,gravel,hopper*,retina*,rocket*}.jpg "$1/n02504458"
}

digest() { sha256sum <"$1" | cut -d' ' -f1; }

# train NAME OPTION...: into $work/NAME
train() {
    local name=$1
    shift
    "$build/tools/anx-train" --device $on --weights "$weights" --data "$work/images" --epochs 1 --batch 8 \
        -o "$work/$name" "$@"
}

# in_work FUNCTION: with a folder of images that is gone afterwards
in_work() {
    work=$out/$1.files
    rm -rf "$work"
    trap 'rm -rf "$work"' EXIT
    sort_images "$work/images" && "$1"
}

twice() {
    local run
    for run in 1 2; do
        train $run || return
        "$build/tools/anx-eval" --device cuda --weights "$weights" --val-dir "$work/images" --batch 8 \
            --predictions "$work/$run.csv" || return
    done
    echo "{\"training_sha256\": \"$(digest "$work/1/last-model.pth")\", \
\"predictions_sha256\": \"$(digest "$work/1.csv")\"}" | put determinism
    cmp "$work/1/last-model.pth" "$work/2/last-model.pth" && cmp "$work/1.csv" "$work/2.csv"
}
determinism() { in_work twice; }

with_own_masks() {
    train own1 --dropout-masks device && train own2 --dropout-masks device || return
    echo "{\"training_sha256\": \"$(digest "$work/own1/last-model.pth")\"}" | put masks
    cmp "$work/own1/last-model.pth" "$work/own2/last-model.pth"
}
masks() { in_work with_own_masks; }

images() {
    local device rc=0
    for device in cuda exact; do
        "$build/tools/anx-eval" predict --device "$device" --weights "$weights" fixtures/images/*.jpg \
            >"$out/images.$device" || { cat "$out/images.$device" && return 1; }
        cat "$out/images.$device"
        sed -i 's/ *[0-9.]* %//' "$out/images.$device"
    done
    diff "$out/images.cuda" "$out/images.exact" || rc=1
    rm -f "$out/images.cuda" "$out/images.exact"
    return $rc
}

# ---- times ---------------------------------------------------------------------------------------------------
events() {
    local less=()
    # Times of the double are none; that they are taken is what can be seen there.
    if [ -n "$double" ]; then
        less=(1 1 8)
        export FAKECUDA_COMPUTE=off
    fi
    "$build/tests/cuda/gpu_timings" "$out/events.json" ${less[@]+"${less[@]}"}
}

timings() {
    local beside=() size=(--batches "1,8,64,256")
    [ -z "$double" ] || size=(--batches 1 --repeats 1)
    if sees_gpu; then beside=(--python "$python"); else echo "no PyTorch with a GPU beside it"; fi
    "$build/tools/anx-bench" run --device cuda --only forward,train "${size[@]}" --json "$out/timings.json" \
        --peer tools/benchmark/peer.py ${beside[@]+"${beside[@]}"} "$weights"
}

# ---- a second GPU --------------------------------------------------------------------------------------------
second_training() { train second; }

second_gpu() {
    "$build/tools/anx-parity" devices | grep '^cuda:1' >/dev/null || cannot "there is no second GPU"
    on=cuda:1
    conformance float32 && check second-gpu && in_work second_training
}

case $1 in
conformance) conformance float32 ;;
conformance-*) conformance "${1#*-}" ;;
parity-*) check "$1" --math "${1#*-}" ;;
training) check training --train ;;
training-*) check "$1" --train --math "${1#*-}" ;;
second-gpu) second_gpu ;;
*) "$1" ;;
esac
