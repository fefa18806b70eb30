"""POST /v1/rerank over ONNX Runtime with the embedded model's network, for `rerankd bench`.

    python tests/integration/peers/onnx_server.py MODEL.gguf PORT THREADS [int8|fp32]

The network is written from the GGUF file's own weights: MatMul, Add, Softmax, Gelu and
LayerNormalization nodes, then ONNX Runtime's transformer fusion and dynamic int8 quantisation,
which is what FlashRank-style libraries run.
Token ids come from llama.cpp's tokenizer, in the layout that rerankd uses. Needs onnx,
onnxruntime and rerankd's own packages.
"""

from __future__ import annotations

import json
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from gguf import GGUFReader
from gguf.quants import dequantize
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer

from rerankd.engine.llama.binding import LlamaModel, LoadOptions
from rerankd.families.bert import BERT
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file

BATCH = 8
HEADS, LAYERS, WIDTH = 12, 6, 384


class Graph:
    """ONNX nodes and weights as they are added."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self._count = 0

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant once and return its name."""
        self.initializers.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output and return that one's name."""
        self._count += 1
        output = f"{kind}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def linear(self, inputs: str, name: str) -> str:
        """Add `inputs @ weight + bias` with a layer of the file."""
        weight = self.constant(f"{name}.w", self.weights[f"{name}.weight"].T.copy())
        bias = self.constant(f"{name}.b", self.weights[f"{name}.bias"])
        return self.node("Add", self.node("MatMul", inputs, weight), bias)

    def norm(self, inputs: str, name: str) -> str:
        """Add a layer normalisation of the file."""
        scale = self.constant(f"{name}.s", self.weights[f"{name}.weight"])
        bias = self.constant(f"{name}.b", self.weights[f"{name}.bias"])
        return self.node("LayerNormalization", inputs, scale, bias, epsilon=1e-12)


def build(path: Path) -> onnx.ModelProto:
    """Build the network of a BERT cross-encoder file with a bare head."""
    tensors = {one.name: one for one in GGUFReader(path).tensors}
    weights = {
        name: np.asarray(dequantize(one.data, one.tensor_type), dtype=np.float32)
        for name, one in tensors.items()
    }
    graph = Graph(weights)
    ids = graph.node("Gather", graph.constant("embd", weights["token_embd.weight"]), "input_ids")
    places = graph.node(
        "Gather", graph.constant("places", weights["position_embd.weight"]), "positions"
    )
    types = graph.constant("types", weights["token_types.weight"].reshape(-1, WIDTH)[0])
    hidden = graph.norm(graph.node("Add", graph.node("Add", ids, places), types), "token_embd_norm")
    one = graph.constant("one", np.array(1, dtype=np.float32))
    lowest = graph.constant("lowest", np.array(-10_000, dtype=np.float32))
    axes = graph.constant("axes", np.array([1, 2], dtype=np.int64))
    mask = graph.node("Unsqueeze", "mask", axes)
    bias = graph.node("Mul", graph.node("Sub", one, mask), lowest)
    for layer in range(LAYERS):
        hidden = add_layer(graph, hidden, bias, f"blk.{layer}")
    first = graph.node("Gather", hidden, graph.constant("zero", np.array(0)), axis=1)
    weight = graph.constant("head", weights["cls.output.weight"].reshape(1, WIDTH).T.copy())
    graph.nodes.append(helper.make_node("MatMul", [first, weight], ["raw"], "head"))
    shift = graph.constant("head.b", weights["cls.output.bias"].reshape(1))
    graph.nodes.append(helper.make_node("Add", ["raw", shift], ["logit"], "score"))
    shape = ["batch", "tokens"]
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape),
        helper.make_tensor_value_info("positions", TensorProto.INT64, shape),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, shape),
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch", 1])]
    made = helper.make_graph(
        graph.nodes, "reranker", inputs, outputs, list(graph.initializers.values())
    )
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def add_layer(graph: Graph, hidden: str, bias: str, name: str) -> str:
    """Add a layer of BERT: attention and feed-forward, each with its residual and norm."""
    split = graph.constant("split", np.array([0, 0, HEADS, WIDTH // HEADS], dtype=np.int64))
    joined = graph.constant("joined", np.array([0, 0, WIDTH], dtype=np.int64))
    parts = [
        graph.node(
            "Transpose",
            graph.node("Reshape", graph.linear(hidden, f"{name}.attn_{part}"), split),
            perm=[0, 2, 3, 1] if part == "k" else [0, 2, 1, 3],
        )
        for part in "qkv"
    ]
    width = graph.constant("width", np.array((WIDTH / HEADS) ** 0.5, dtype=np.float32))
    scores = graph.node("Div", graph.node("MatMul", parts[0], parts[1]), width)
    shares = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", shares, parts[2]), perm=[0, 2, 1, 3])
    attended = graph.linear(graph.node("Reshape", mixed, joined), f"{name}.attn_output")
    hidden = graph.norm(graph.node("Add", attended, hidden), f"{name}.attn_output_norm")
    inner = graph.node("Gelu", graph.linear(hidden, f"{name}.ffn_up"))
    out = graph.linear(inner, f"{name}.ffn_down")
    return graph.norm(graph.node("Add", out, hidden), f"{name}.layer_output_norm")


def session(path: Path, threads: int, kind: str, folder: Path) -> onnxruntime.InferenceSession:
    """Return a session of the fused, and maybe quantised, network."""
    plain, fused, small = (str(folder / f"{name}.onnx") for name in ("plain", "fused", "int8"))
    onnx.save(build(path), plain)
    optimizer.optimize_model(
        plain, model_type="bert", num_heads=HEADS, hidden_size=WIDTH, opt_level=0
    ).save_model_to_file(fused)
    if kind == "int8":
        quantize_dynamic(
            fused,
            small,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(small if kind == "int8" else fused, options)


class Reranker:
    """The network with rerankd's own layout and tokenizer."""

    def __init__(self, path: Path, threads: int, kind: str, folder: Path) -> None:
        header = gguf_file.read(path)
        model = LlamaModel(path, LoadOptions())
        self._prompter = PromptBuilder(layout_for(BERT, header, model), 512)
        self._session = session(path, threads, kind, folder)

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        """Return logits in input order and the tokens of all pairs, in batches of equal lengths."""
        rows = self._prompter.build(query, tuple(documents)).prompt.rows
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        logits = [0.0] * len(rows)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            longest = max(len(rows[row]) for row in batch)
            ids = np.zeros((len(batch), longest), dtype=np.int64)
            mask = np.zeros((len(batch), longest), dtype=np.float32)
            for at, row in enumerate(batch):
                ids[at, : len(rows[row])] = rows[row]
                mask[at, : len(rows[row])] = 1
            positions = np.broadcast_to(np.arange(longest), ids.shape).copy()
            inputs = {"input_ids": ids, "positions": positions, "mask": mask}
            for row, logit in zip(batch, self._session.run(None, inputs)[0][:, 0], strict=True):
                logits[row] = float(logit)
        return logits, sum(map(len, rows))


def main() -> None:
    """Serve until the process is ended."""
    path, port, threads, *kind = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        reranker = Reranker(Path(path), int(threads), (kind or ["int8"])[0], Path(folder))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            logits, tokens = reranker.rank(asked["query"], asked["documents"])
            order = sorted(range(len(logits)), key=lambda index: -logits[index])
            results = [{"index": index, "relevance_score": logits[index]} for index in order]
            body = json.dumps({"results": results, "usage": {"total_tokens": tokens}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    print("ready", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
