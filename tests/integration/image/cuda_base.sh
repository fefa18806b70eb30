#!/usr/bin/env bash
# Make stand-ins for the images that the Containerfile's CUDA target starts from, where no image registry
# can be reached: Debian's (base.sh), a CUDA toolkit that is installed here, and cuBLAS from its Python
# package. Without NVIDIA's driver nothing computes in them; they show that the target builds.
#   cuda_base.sh TOOLKIT CUBLAS        such as: /usr/local/cuda site-packages/nvidia/cu13
# gives localhost/cuda-devel and localhost/cuda-runtime. Needs root, buildah and cc.
set -euo pipefail
toolkit=$(realpath "$1") cublas=$(realpath "$2")
base=${BASE:-docker.io/library/debian:bookworm-slim}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir -p "$folder/devel" "$folder/runtime/lib64"
cp -a "$toolkit" "$folder/devel/cuda"
rm -f "$folder"/devel/cuda/lib/lib{cupti,nvperf}*
for library in cublas cublasLt; do
    cp "$cublas"/lib/lib$library.so.[0-9]* "$folder/runtime/lib64"
done
cp -a "$toolkit"/lib64/libcudart.so* "$folder/runtime/lib64"
cp -a "$cublas/include/." "$folder/devel/cuda/include"
cp -a "$folder"/runtime/lib64/. "$folder/devel/cuda/lib64"
for library in "$folder"/devel/cuda/lib64/lib{cublas,cublasLt}.so.[0-9]*; do
    ln -sf "${library##*/}" "${library%.so.*}.so"
done
# The driver's library, as a name to link against: the real one comes with the driver.
mkdir -p "$folder/devel/cuda/lib64/stubs"
printf 'int %s(void) { return 100; }\n' cuDeviceGet cuDeviceGetAttribute cuGetErrorString cuMemAddressFree \
    cuMemAddressReserve cuMemCreate cuMemGetAllocationGranularity cuMemMap cuMemRelease cuMemSetAccess \
    cuMemUnmap cuMemExportToShareableHandle cuMemImportFromShareableHandle cuMemGetAddressRange_v2 \
    cuMemRetainAllocationHandle cuDeviceGetName cuInit | cc -shared -Wl,-soname,libcuda.so.1 -o "$folder/devel/cuda/lib64/stubs/libcuda.so" -x c -

for kind in devel runtime; do
    container=$(buildah from --pull-never "$base")
    from=$folder/$kind/cuda
    [ "$kind" = devel ] || from=$folder/runtime
    buildah add --quiet "$container" "$from" /usr/local/cuda
    buildah config --env PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env LD_LIBRARY_PATH=/usr/local/cuda/lib64 "$container"
    buildah commit --quiet --rm --format docker "$container" "localhost/cuda-$kind"
done
