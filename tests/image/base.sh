#!/usr/bin/env bash
# Make the image that the Containerfile's BASE names where no image registry can be reached: Debian's
# packages by debootstrap, without documents and languages, as Debian's own slim image is. Needs root.
#   base.sh [NAME]
set -euo pipefail
name=${1:-docker.io/library/debian:bookworm-slim}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

debootstrap --variant=minbase --merged-usr bookworm "$folder/root"
rm -rf "$folder"/root/var/{cache/apt/archives/*.deb,cache/apt/*.bin,lib/apt/lists/*,log/*}
for kind in doc groff info lintian linda locale man; do
    rm -rf "$folder/root/usr/share/$kind"/*
    echo "path-exclude /usr/share/$kind/*"
done > "$folder/root/etc/dpkg/dpkg.cfg.d/slim"
printf 'deb http://deb.debian.org/debian %s main\n' bookworm bookworm-updates > "$folder/root/etc/apt/sources.list"
echo 'deb http://deb.debian.org/debian-security bookworm-security main' >> "$folder/root/etc/apt/sources.list"
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/root" /
buildah config --cmd bash "$container"
buildah commit --quiet --rm --format docker "$container" "$name"
