#!/usr/bin/env bash
# bench-peers.sh OPTION...: build the peers into .peers/, once, and compare with them. With --processor
# avx2|avx512 all servers see a processor that has no more, and ours is the build of .venv-portable.
. "$(dirname "$0")/environment.sh"
there=$PWD/.peers peers=tests/integration/peers
export PYTHONPATH=tests
mkdir -p "$there/sources" "$there/node"

server=$there/llama.cpp/bin/llama-server
if [ ! -x "$server" ]; then
    # The same sources as the engine's, as they were published.
    $patches/unpack.sh "$venv/bin/python" requirements/runtime.txt "$there/sources"
    # Its kernels are chosen at start, as in its releases.
    cmake -S "$there/sources/vendor/llama.cpp" -B "$there/llama.cpp" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF \
        -DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON \
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF
    cmake --build "$there/llama.cpp" --target llama-server --parallel
fi

cp $peers/package.json $peers/node_llama_cpp.mjs "$there/node"
(cd "$there/node" && npm install --silent)

onnx=$there/onnx packages="onnx onnxruntime"
if ! is_current "$onnx/installed" "$packages"; then
    python=$venv/bin/python create_venv "$onnx"
    lend_packages "$onnx"
    pip_install "$onnx" $packages
    echo "$packages" > "$onnx/installed"
fi

mkdir -p "$there/large"
for shape in qwen3 xlm-r; do
    for kind in q8_0 q4_k_m; do
        model=$there/large/$shape-$kind.gguf
        [ -f "$model" ] || "$venv/bin/python" $peers/synthetic.py $shape $kind "$model"
    done
done

case " $* " in *" --processor"*)
    install_portable
    gcc -shared -fPIC -O2 -o "$there/processor.so" $peers/processor.c
    set -- --mask "$there/processor.so" --engine "$(echo "$portable"/lib/python3*/site-packages/llama_cpp)" "$@" ;;
esac
"$venv/bin/python" $peers/compare.py --llama-server "$server" --node "$there/node" --onnx "$onnx/bin/python" \
    --large "$there/large" "$@"
