import { inWords } from "./client.js";
import { button, foot, open } from "./dialogs.js";
import { facts, h, notice } from "./dom.js";
import { bytes, count, dateTime, plural, span } from "./format.js";
import { serverInfo } from "./server.js";

/** Show what runs here: versions, uptime, memory. */
export async function showAbout() {
  const shown = await serverInfo().then(described, (error) => notice("bad", inWords(error)));
  await open("About this server", (close) => [shown, foot(button("Close", close))]);
}

function described(info) {
  return h("div", { class: "stack" }, facts([
    ["rerankd", info.version],
    ["llama-cpp-python", info.engine],
    ["Python", info.python],
    ["System", info.system],
    ["Running for", span(info.uptime_seconds)],
    ["Since", dateTime(info.started)],
    ["Cores", count(info.cores)],
    ["Memory of the server", info.memory_bytes === null ? "unknown" : bytes(info.memory_bytes)],
    ["Of that for models", info.models_bytes ? `about ${bytes(info.models_bytes)}` : "none"],
    ["Memory still free", info.available_bytes === null ? "unknown" : bytes(info.available_bytes)],
  ]), h("p", { class: "muted small" }, `Times are those of this browser. ${plural(info.deployment_options.length, "option")} can be set for each deployment.`));
}
