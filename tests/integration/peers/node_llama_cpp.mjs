// POST /v1/rerank over node-llama-cpp's ranking context, so that `rerankd bench` can measure it.
//   node node_llama_cpp.mjs MODEL.gguf PORT THREADS
import http from "node:http";
import { getLlama } from "node-llama-cpp";

const [model, port, threads] = process.argv.slice(2);
const llama = await getLlama({ build: "never", gpu: false, maxThreads: Number(threads) });
const loaded = await llama.loadModel({ modelPath: model });
const ranking = await loaded.createRankingContext({ contextSize: 512, threads: Number(threads) });

async function answer(body) {
    const { query, documents } = JSON.parse(body);
    const scores = await ranking.rankAll(query, documents);
    const results = scores.map((score, index) => ({ index, relevance_score: score }));
    results.sort((left, right) => right.relevance_score - left.relevance_score);
    return JSON.stringify({ results, usage: { total_tokens: 0 } });
}

http.createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
        response.setHeader("Content-Type", "application/json");
        try {
            response.end(await answer(Buffer.concat(parts).toString()));
        } catch (error) {
            response.statusCode = 500;
            response.end(JSON.stringify({ message: String(error) }));
        }
    });
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
