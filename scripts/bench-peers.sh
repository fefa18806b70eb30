#!/usr/bin/env bash
# bench-peers.sh OPTION...: build the peers into .peers/, once, and compare with them.
. "$(dirname "$0")/environment.sh"
there=$PWD/.peers peers=tests/integration/peers
export PYTHONPATH=tests
mkdir -p "$there/sources" "$there/node"

server=$there/llama.cpp/bin/llama-server
if [ ! -x "$server" ]; then
    # The same sources as the engine's, as they were published.
    $patches/unpack.sh "$venv/bin/python" requirements/runtime.txt "$there/sources"
    cmake -S "$there/sources/vendor/llama.cpp" -B "$there/llama.cpp" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF \
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

model=$there/qwen3-0.6b-shape.gguf
[ -f "$model" ] || "$venv/bin/python" $peers/synthetic.py "$model"
"$venv/bin/python" $peers/compare.py --llama-server "$server" --node "$there/node" --onnx "$onnx/bin/python" --causal "$model" "$@"
