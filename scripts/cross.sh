# Source this after environment.sh: what another architecture's builds need. Below build/ARCHITECTURE, root/
# has Debian packages of that architecture, unpacked, venv/ a virtual environment whose interpreter
# qemu-user runs, and tools/ programs for files of it; build/engine-ARCHITECTURE has its llama.cpp.

# The names of Debian's architectures, by uname's.
debian_name() {
    case $1 in
    aarch64) echo arm64 ;;
    *) echo "this builds for aarch64, and for the machine that it runs on, not for $1" >&2; exit 2 ;;
    esac
}

# other_architectures: those but this machine's that releases are for
other_architectures() {
    local other
    for other in aarch64; do
        if [ "$other" != "$(uname -m)" ]; then echo "$other"; fi
    done
}

# wheel_architectures VERSION: those whose engine wheel a release makes here: this machine's, and each other
# one that there is a compiler for, unless dist/ has its wheel of this version, made elsewhere
wheel_architectures() {
    local other
    uname -m
    for other in $(other_architectures); do
        command -v "$other-linux-gnu-g++" >/dev/null || continue
        if ! compgen -G "dist/llama_cpp_python-$1-*_$other.whl" >/dev/null; then echo "$other"; fi
    done
}

# binary_architectures: those whose binary a release makes here: this machine's, and each other one that `just
# binary` has made here before, so that none of older sources is released. Which takes an emulator some time, so
# a release doesn't begin with it by itself.
binary_architectures() {
    local other
    uname -m
    for other in $(other_architectures); do
        if [ -f "dist/rerankd-$other" ] && [ -f "build/$other/binary/made" ]; then echo "$other"; fi
    done
}

# require_commands PACKAGE:COMMAND...
require_commands() {
    local one missing=()
    for one; do command -v "${one#*:}" >/dev/null || missing+=("${one%%:*}"); done
    [ ${#missing[@]} -eq 0 ] || { echo "missing (Debian: apt install ${missing[*]})" >&2; exit 1; }
}

# install_cross_engine ARCHITECTURE: build/engine-ARCHITECTURE, llama.cpp for all its processors, laid out as
# pip installs it
install_cross_engine() {
    local folder=$PWD/build/engine-$1 wanted
    debian_name "$1" >/dev/null
    require_commands "g++-${1/_/-}-linux-gnu:$1-linux-gnu-g++"
    wanted=$(architecture=$1 && . $patches/portable.env && echo "$(engine_version requirements/binary.txt) $CPU_VARIANTS")
    if is_current "$folder/engine.installed" "$wanted"; then return; fi
    install_builder
    rm -rf "$folder"
    echo "compiling llama.cpp for $1 into build/engine-$1 (once; some four minutes on two cores)" >&2
    RERANKD_CPU_VARIANTS=all RERANKD_ENGINE_ARCHITECTURE=$1 RERANKD_ENGINE_TARGET=$folder \
        CMAKE_ARGS=-DCMAKE_INSTALL_BINDIR=llama_cpp/lib $patches/install.sh "$builder/bin/python" requirements/binary.txt
    echo "$wanted" > "$folder/engine.installed"
}

# install_builder: an environment of this machine with what makes a binary of another one
builder=$PWD/build/cross-builder
install_builder() {
    local wanted
    wanted=$(cksum < requirements/binary.txt)
    if is_current "$builder/installed" "$wanted"; then return; fi
    create_venv "$builder"
    select_packages backports-zstd hatchling packaging pathspec pluggy trove-classifiers > "$builder/packages.txt"
    pip_install "$builder" --no-deps --require-hashes -r "$builder/packages.txt"
    echo "$wanted" > "$builder/installed"
}

# select_packages NAME...: those of the binary's lock
select_packages() {
    awk -v names=" $* " '/^[^ #]/ { split($1, name, "=="); keep = index(names, " " name[1] " ") } keep' requirements/binary.txt
}

# list_package FILE: a line for each file in a Debian package, with the package's name and version; the
# release's bill of materials reads them
list_package() {
    local package version
    { read -r package; read -r version; } < <(dpkg-deb --show --showformat '${Package}\n${Version}\n' "$1")
    dpkg-deb --fsys-tarfile "$1" | tar --list | sed "s|^\.|$package $version |"
}

# install_root ARCHITECTURE: build/ARCHITECTURE/root. apt downloads them with lists of its own, so that this
# system's packages stay as they are.
install_root() {
    local there=$PWD/build/$1 release package wanted packages
    # What Python imports and the launcher is linked with.
    packages="python3 libpython3-stdlib libpython3.11 libgomp1 libstdc++6 libc6-dev libzstd-dev"
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    wanted="$release $packages"
    if is_current "$there/root.installed" "$wanted"; then return; fi
    rm -rf "$there"
    mkdir -p "$there"/{root,apt/lists/partial,apt/archives/partial,apt/parts}
    touch "$there/apt/status"
    {
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security $release-security main"
    } > "$there/apt/sources.list"
    cat > "$there/apt/apt.conf" <<END
APT::Architecture "$(debian_name "$1")";
APT::Architectures { "$(debian_name "$1")"; };
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Dir::State "$there/apt";
Dir::State::status "$there/apt/status";
Dir::Cache "$there/apt";
Dir::Etc::sourcelist "$there/apt/sources.list";
Dir::Etc::sourceparts "$there/apt/parts";
END
    APT_CONFIG=$there/apt/apt.conf apt-get update -qq
    APT_CONFIG=$there/apt/apt.conf apt-get install -qq --yes --download-only $packages >/dev/null
    for package in "$there"/apt/archives/*.deb; do
        dpkg -x "$package" "$there/root"
        list_package "$package"
    done > "$there/packages.txt"
    install_cross_tools "$1"
    rm -rf "$there/apt"
    echo "$wanted" > "$there/root.installed"
}

# install_cross_tools ARCHITECTURE: build/ARCHITECTURE/tools, programs that PyInstaller and pack.py ask about the
# files of their own architecture
install_cross_tools() {
    local there=$PWD/build/$1 name
    mkdir -p "$there/tools"
    for name in objcopy readelf strip; do
        ln -sf "$(command -v "$1-linux-gnu-$name")" "$there/tools/$name"
    done
    # The loader's own --list ends at the first library that is not found; llama.cpp's are found later.
    cat > "$there/tools/ldd" <<END
#!/bin/sh
exec qemu-$1 -E LD_TRACE_LOADED_OBJECTS=1 -L "$there/root" "$(echo "$there"/root/*/"$1"-linux-gnu/ld-linux-*.so.*)" "\$@"
END
    # This machine's list of libraries is of no use: what isn't on it is looked for in the root's folders.
    echo '#!/bin/sh' > "$there/tools/ldconfig"
    chmod +x "$there"/tools/ld{d,config}
}

# install_cross_environment ARCHITECTURE: build/ARCHITECTURE/venv with the binary's lock and rerankd. The
# interpreter takes its name from the script that starts it, so that it finds pyvenv.cfg beside that, and
# programs that start Python again start the script.
install_cross_environment() {
    local there=$PWD/build/$1 venv wanted its_python site tag platforms=()
    venv=$there/venv
    require_commands qemu-user:qemu-$1 apt:apt-get
    install_cross_engine "$1"
    install_root "$1"
    install_builder
    wanted=$(find app models pyproject.toml requirements/binary.txt -type f -not -name '*.pyc' -not -path 'models/train/*' -print0 | sort -z | xargs -0 cksum | cksum)
    if is_current "$venv/installed" "$wanted"; then return; fi
    rm -rf "$venv"
    its_python=$(cd "$there/root/usr/bin" && echo python3.*[0-9])
    mkdir -p "$venv/bin"
    printf 'home = %s\ninclude-system-site-packages = false\n' "$there/root/usr/bin" > "$venv/pyvenv.cfg"
    cat > "$venv/bin/python" <<END
#!/bin/sh
exec qemu-$1 \${RERANKD_QEMU_CPU:+-cpu "\$RERANKD_QEMU_CPU"} -0 "\$0" -L "$there/root" "$there/root/usr/bin/$its_python" "\$@"
END
    chmod +x "$venv/bin/python"
    for tag in 2014 _2_17 _2_26 _2_27 _2_28 _2_31 _2_34; do platforms+=(--platform "manylinux${tag}_$1"); done
    # The engine is compiled, and there is no wheel of pytrec-eval for other processors than x86-64.
    awk '/^[^ #]/ { skip = /^(llama-cpp-python|pytrec-eval-terrier)==/ } !skip' requirements/binary.txt > "$venv/packages.txt"
    site=$venv/lib/$its_python/site-packages
    pip_install "$builder" --no-deps --no-compile --require-hashes --only-binary :all: "${platforms[@]}" \
        --implementation cp --python-version "${its_python#python}" --target "$site" -r "$venv/packages.txt"
    pip_install "$builder" --no-deps --no-compile --no-build-isolation --upgrade --target "$site" .
    compile_modules "$its_python" "$there/root/usr/lib/$its_python" "$site"
    echo "$PWD/build/engine-$1" > "$site/engine.pth"
    echo "$wanted" > "$venv/installed"
}

# compile_modules PYTHON FOLDER...: Python's modules, where this machine's is of the same version: its bytecode is
# that of any processor, and an emulated Python takes minutes to make it. What doesn't compile is not ours.
compile_modules() {
    if [ "$("$builder/bin/python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')" = "$1" ]; then
        "$builder/bin/python" -m compileall -q -j 0 "${@:2}" >/dev/null || true
    fi
}
