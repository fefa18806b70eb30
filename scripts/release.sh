#!/usr/bin/env bash
# release.sh [TAG]: complete dist/ after its builds: the binary's name, what pip installs without an index,
# requirements.txt, a bill of materials, the notes of a version, checksums.
. "$(dirname "$0")/environment.sh"
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' app/rerankd/__init__.py)
rm -rf dist/dependencies dist/rerankd-*-linux-* # a binary may be gone
ln -f dist/rerankd "dist/rerankd-$version-linux-$(uname -m)"
for other in dist/rerankd-{x86_64,aarch64}; do # of a cross build
    if [ -f "$other" ]; then
        chmod 755 "$other" # an artifact of a forge is no program
        ln -f "$other" "dist/rerankd-$version-linux-${other##*-}"
    fi
done
PYTHONPATH=$PWD/app:$PWD/scripts "$venv/bin/python" -P -m release "$(engine_version requirements/binary.txt)" "$(build_time)" "$@"
ls -l dist
