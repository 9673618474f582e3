#!/usr/bin/env bash
# libraries.sh BIN_DIR DOUBLES_DIR: NVIDIA's libraries missing, half missing, broken, mixed, of the wrong version: each is
# refused with its path and the reason, or passed over where another generation will do.
set -uo pipefail
bin=$1 doubles=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset "${!FAKECUDA_@}" CUDA_VISIBLE_DEVICES
failed=0

# expect TEXT PATHS ENVIRONMENT...: what `anx-parity devices` says of cuda, in one line
expect() {
    local text=$1 path=$2 said rc
    shift 2
    said=$(env ANX_CUDA_PATH="$path" "$@" "$bin/anx-parity" devices 2>&1)
    rc=$?
    said=$(tr -s ' \n' ' ' <<<"$said")
    case $rc,$said in 0,*"$text"*) ;; *)
        echo "$path $*: expected '$text', got exit $rc: $said"
        failed=1
        ;;
    esac
}

# with NAME GENERATION: a copy of a double's folder to spoil
with() {
    rm -rf "${work:?}/$1"
    cp -r "$doubles/$2" "$work/$1"
}

for generation in 13-9 12-9 12-8 11-8; do
    expect "cuda CUDA ${generation%-*}." "$doubles/$generation" A=
    expect "cuDNN ${generation#*-}." "$doubles/$generation" A=
done

mkdir "$work/empty"
expect "CUDA runtime was not found (libcudart.so.13, .12 or .11.0); looked for it in: $work/empty" "$work/empty" A=
expect "auto cpu" "$work/empty" A=

with lone 13-9 && rm "$work"/lone/libcublas* "$work"/lone/libcudnn*
expect "libcublas.so.13 was not found; looked for it in: $work/lone" "$work/lone" A=
with nolt 13-9 && rm "$work/nolt/libcublasLt.so.13"
# The loader fills in what the machine has, if it has one: that is of another version than the double's.
expect "libcublasLt.so.13" "$work/nolt" A=
expect "$work/nolt/libcublas.so.13 " "$work/nolt" A=
with alien 13-9 && cp "$work/alien/libcudart.so.13" "$work/alien/libcublasLt.so.13"
expect "$work/alien/libcublasLt.so.13 has no function cublasLtCreate" "$work/alien" A=
with nodnn 13-9 && rm "$work"/nodnn/libcudnn*
expect "libcudnn.so.9 was not found" "$work/nodnn" A=
expect "cuda CUDA 12." "$work/nodnn:$doubles/12-8" A=
with part 13-9 && rm "$work"/part/libcudnn_ops.so.9
expect "a part of cuDNN is missing: $work/part/libcudnn_ops.so.9" "$work/part" A=
with part 12-8 && rm "$work"/part/libcudnn_cnn_train.so.8
expect "a part of cuDNN is missing: $work/part/libcudnn_cnn_train.so.8" "$work/part" A=
with broken 13-9 && echo "not a library" >"$work/broken/libcudnn_cnn.so.9"
expect "a part of cuDNN cannot be opened: $work/broken/libcudnn_cnn.so.9: " "$work/broken" A=
with broken 13-9 && : >"$work/broken/libcudart.so.13"
expect "$work/broken/libcudart.so.13 cannot be opened: " "$work/broken" A=
expect "cuda CUDA 12." "$work/broken:$doubles/12-9" A=
with alien 13-9 && cp "$work/alien/libcublas.so.13" "$work/alien/libcudart.so.13"
expect "$work/alien/libcudart.so.13 has no function cuda" "$work/alien" A=

with mixed 13-9 && rm "$work"/mixed/libcudnn*
expect "cuda CUDA 12." "$work/mixed:$doubles/12-9" A=
cp "$doubles"/12-9/libcudnn* "$work/mixed"
expect "cuDNN does not fit CUDA's runtime: $work/mixed/libcudnn.so.9 is cuDNN 9.19.0 for CUDA 12" "$work/mixed" A=
with mixed 13-9 && cp "$doubles/12-9/libcublas.so.12" "$work/mixed/libcublas.so.13"
cp "$doubles/12-9/libcublasLt.so.12" "$work/mixed"
expect "cuBLAS does not fit CUDA's runtime: $work/mixed/libcublas.so.13 is version 12." "$work/mixed" A=
with mixed 13-9 && cp "$doubles/12-9/libcublasLt.so.12" "$work/mixed/libcublasLt.so.13"
expect "cuBLASLt does not fit cuBLAS: $work/mixed/libcublasLt.so.13 is version 12.1.0, $work/mixed/libcublas.so.13 is 13.0.0" \
    "$work/mixed" A=
expect "cuda CUDA 12." "$work/mixed:$doubles/12-9" A=
with mixed 12-9 && cp "$doubles/12-8/libcudnn.so.8" "$work/mixed/libcudnn.so.9"
expect "$work/mixed/libcudnn.so.9 " "$work/mixed" A=

for part in Ops Cnn; do
    expect "the parts of cuDNN 9.19.0 beside $doubles/13-9/libcudnn.so.9 are of different versions: " "$doubles/13-9" \
        "FAKECUDA_FAIL=cudnn${part}VersionCheck:1"
done
for part in OpsInfer OpsTrain CnnInfer CnnTrain; do
    expect "beside $doubles/12-8/libcudnn.so.8 are of different versions: " "$doubles/12-8" \
        "FAKECUDA_FAIL=cudnn${part}VersionCheck:1"
done

expect "no NVIDIA driver is installed: $doubles/13-9/libcudart.so.13 (CUDA 13.0)" "$doubles/13-9" FAKECUDA_DRIVER=0
expect "the NVIDIA driver is too old: it is made for CUDA 12.2, and $doubles/13-9/libcudart.so.13 is CUDA 13.0" \
    "$doubles/13-9" FAKECUDA_DRIVER=12020
expect "cuda CUDA 12." "$doubles/13-9:$doubles/12-9" FAKECUDA_DRIVER=12020
# CUDA 13 has no code for what is older than 7.5.
expect "the GPU has compute capability 7.0, and CUDA 13's libraries ($doubles/13-9/libcudart.so.13) have code for 7.5" \
    "$doubles/13-9" FAKECUDA_CAPABILITY=7.0
expect "cuda CUDA 12." "$doubles/13-9:$doubles/12-9" FAKECUDA_CAPABILITY=7.0
# Python's packages before CUDA 13, a folder for each library, while the loader has a cuDNN for another CUDA.
packages=$work/venv/lib/python3.11/site-packages/nvidia
for generation in 12-9 12-8; do
    rm -rf "$packages"
    for package in cuda_runtime:cudart cublas:cublas cudnn:cudnn; do
        mkdir -p "$packages/${package%:*}/lib"
        cp "$doubles/$generation"/lib"${package#*:}"* "$packages/${package%:*}/lib"
    done
    expect "cuda CUDA 12.1, cuBLAS 12.1.0, cuDNN ${generation#*-}." "" FAKECUDA_CAPABILITY=7.0 \
        VIRTUAL_ENV="$work/venv" LD_LIBRARY_PATH="$doubles/13-9"
done
expect "sees no GPU" "$doubles/13-9" FAKECUDA_DEVICES=0
expect "different versions" "$doubles/13-9" FAKECUDA_COUNT_ERROR=803
expect "fails to count the GPUs: " "$doubles/13-9" FAKECUDA_COUNT_ERROR=999
expect "cuda:1" "$doubles/13-9" FAKECUDA_DEVICES=2
expect "NVIDIA_TF32_OVERRIDE is set to '1'" "$doubles/13-9" NVIDIA_TF32_OVERRIDE=1
expect "verified on a double of NVIDIA's libraries, never on a GPU" "$doubles/13-9" A=
exit $failed
