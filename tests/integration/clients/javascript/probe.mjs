// Runs JavaScript clients against a server and prints what they made of the answers, as JSON:
// `node probe.mjs cohere_v1 cohere_v2`. It is probe.py for npm's packages.

const given = JSON.parse(process.env.RERANKD_PROBE);
const query = "What is a panda?";
const documents = [
  "Bake the bread for forty minutes at two hundred degrees.",
  "The giant panda is a bear that lives in the mountains of China and eats bamboo.",
  "Bears are large mammals, and pandas are among them.",
];

const row = (index, score, text) => ({ index, score, text: text ?? null });

const clients = {
  async cohere_v2({ url, key, model, topN }) {
    const { CohereClientV2 } = await import("cohere-ai");
    const client = new CohereClientV2({ token: key, environment: url });
    const reply = await client.rerank({ model, query, documents, topN });
    return reply.results.map((one) => row(one.index, one.relevanceScore));
  },
  async cohere_v1({ url, key, model, topN }) {
    const { CohereClient } = await import("cohere-ai");
    const client = new CohereClient({ token: key, environment: url });
    const texts = documents.map((text) => ({ text }));
    const request = { model, query, documents: texts, topN, returnDocuments: true };
    const reply = await client.rerank(request);
    return reply.results.map((one) => row(one.index, one.relevanceScore, one.document.text));
  },
  async voyageai({ url, key, model, topN }) {
    const { VoyageAIClient } = await import("voyageai");
    const client = new VoyageAIClient({ apiKey: key, environment: `${url}/v1` });
    const request = { model, query, documents, topK: topN, returnDocuments: true };
    const reply = await client.rerank(request);
    return reply.data.map((one) => row(one.index, one.relevanceScore, one.document));
  },
  async ai_cohere({ url, key, model, topN }) {
    const { createCohere } = await import("@ai-sdk/cohere");
    return viaAi(createCohere({ apiKey: key, baseURL: `${url}/v2` }).reranking(model), topN);
  },
  async ai_togetherai({ url, key, model, topN }) {
    const { createTogetherAI } = await import("@ai-sdk/togetherai");
    return viaAi(createTogetherAI({ apiKey: key, baseURL: `${url}/v1` }).reranking(model), topN);
  },
  async ai_voyage({ url, key, model, topN }) {
    const { createVoyage } = await import("voyage-ai-provider");
    return viaAi(createVoyage({ apiKey: key, baseURL: `${url}/v1` }).reranking(model), topN);
  },
  async mixedbread({ url, key, model, topN }) {
    const { Mixedbread } = await import("@mixedbread/sdk");
    const client = new Mixedbread({ apiKey: key, baseURL: url });
    const request = { model, query, input: documents, top_k: topN, return_input: true };
    const reply = await client.rerank(request);
    return reply.data.map((one) => row(one.index, one.score, one.input));
  },
  async together({ url, key, model, topN }) {
    const { default: Together } = await import("together-ai");
    const client = new Together({ apiKey: key, baseURL: `${url}/v1` });
    const request = { model, query, documents, top_n: topN, return_documents: true };
    const reply = await client.rerank.create(request);
    return reply.results.map((one) => row(one.index, one.relevance_score, one.document.text));
  },
  async langchain_cohere({ url, key, model, topN }) {
    const { CohereRerank } = await import("@langchain/cohere");
    const { CohereClient } = await import("cohere-ai");
    const client = new CohereClient({ token: key, environment: url });
    const compressor = new CohereRerank({ model, topN: topN ?? 3, client });
    const pages = documents.map((pageContent, place) => ({ pageContent, metadata: { place } }));
    const ranked = await compressor.compressDocuments(pages, query);
    return ranked.map(({ metadata, pageContent }) =>
      row(metadata.place, metadata.relevanceScore, pageContent),
    );
  },
};

async function viaAi(model, topN) {
  const { rerank } = await import("ai");
  const { ranking } = await rerank({ model, query, documents, topN });
  return ranking.map((one) => row(one.originalIndex, one.score, one.document));
}

function classesOf(error) {
  const names = [];
  for (let kind = error?.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) {
    names.push(kind.name);
  }
  return [error?.name, ...names];
}

async function answer(ask, question) {
  try {
    return { rows: await ask(question) };
  } catch (error) {
    return { error: classesOf(error), message: String(error?.message ?? error) };
  }
}

const asked = {
  all: given,
  best: { ...given, topN: 2 },
  wrong_key: { ...given, key: "wrong-key-of-the-test" },
  wrong_model: { ...given, model: "no-such-model" },
};
const answers = {};
for (const name of process.argv.slice(2)) {
  answers[name] = {};
  for (const wanted of given.cases) {
    answers[name][wanted] = await answer(clients[name], asked[wanted]);
  }
}
console.log(JSON.stringify(answers));
