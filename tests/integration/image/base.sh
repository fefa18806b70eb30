#!/usr/bin/env bash
# Make the image that the Containerfile's BASE names where no image registry can be reached: Debian's
# packages by debootstrap, without documents and languages, as Debian's own slim image is. Needs root.
#   base.sh [NAME]
# The image asks the package sources of APT_SOURCES, a .list or .sources file: by default the host's.
set -euo pipefail
name=${1:-docker.io/library/debian:bookworm-slim}
sources=${APT_SOURCES:-}
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ -n "$sources" ] || [ ! -s "$file" ] || sources=$file
done
[ -s "$sources" ] || { echo "no package sources here: name a file of them in APT_SOURCES" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

debootstrap --variant=minbase --merged-usr bookworm "$folder/root"
rm -rf "$folder"/root/var/{cache/apt/archives/*.deb,cache/apt/*.bin,lib/apt/lists/*,log/*}
for kind in doc groff info lintian linda locale man; do
    rm -rf "$folder/root/usr/share/$kind"/*
    echo "path-exclude /usr/share/$kind/*"
done > "$folder/root/etc/dpkg/dpkg.cfg.d/slim"
rm -f "$folder/root/etc/apt/sources.list"
cp "$sources" "$folder/root/etc/apt/sources.list.d/debian.${sources##*.}"
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/root" /
buildah config --cmd bash "$container"
buildah commit --quiet --rm --format docker "$container" "$name"
