#!/usr/bin/env bash
# image.sh TARGET OPTION...: build the image with podman, docker or buildah, whichever is there.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in podman docker buildah; do command -v "$tool" >/dev/null && break; done
name=rerankd; [ "$1" = cpu ] || name=rerankd-$1
format=(--format docker --ignorefile .containerignore) # OCI's own format has no health check
[ "$tool" != docker ] || format=()
"$tool" build "${format[@]}" -f Containerfile --target "$1" -t "$name" "${@:2}" .
