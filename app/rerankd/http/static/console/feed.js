import { call, events } from "./client.js";
import { announce } from "./notices.js";
import { may } from "./session.js";

const RETRY = 2000;
const REFRESH = 3000;
export const BUSY = new Set(["downloading", "verifying", "loading"]);

/**
 * All deployments as they are now: told by the server's events, their load asked for now and then.
 * "change" tells of anything new, "states" of models that came, went or changed their state.
 */
class Feed extends EventTarget {
  #all = new Map();
  #stop = null;
  #states = "";
  live = "unknown";
  fault = null;

  get list() {
    return [...this.#all.values()];
  }

  get(id) {
    return this.#all.get(id);
  }

  /** Begin anew, as whoever is signed in now. */
  restart() {
    this.#stop?.abort();
    this.#all.clear();
    this.#tell("unknown", null);
    if (!may("manage")) return;
    this.#stop = new AbortController();
    this.#follow(this.#stop.signal);
  }

  /** Keep the load of models fresh while a page shows it; give what ends that. */
  watchLoad() {
    const timer = setInterval(() => document.hidden || this.refresh(), REFRESH);
    return () => clearInterval(timer);
  }

  async refresh() {
    if (!may("manage")) return;
    try {
      const { data } = await call("GET", "/v1/deployments");
      this.#all = new Map(data.map((status) => [status.id, status]));
      this.#tell("yes", null);
    } catch (error) {
      this.#tell(error.status ? "yes" : "no", error);
    }
  }

  async #follow(signal) {
    while (!signal.aborted) {
      try {
        await this.refresh();
        for await (const status of events("/v1/deployments/events", signal)) this.#take(status);
        this.#tell("no", null);
      } catch (error) {
        if (signal.aborted) return;
        this.#tell(error.status ? "yes" : "no", error);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }

  #take(status) {
    const before = this.#all.get(status.id);
    if (before && before.state !== status.state) announce(`${status.id}: ${status.state}`);
    this.#all.set(status.id, status);
    this.#tell("yes", null);
    if (status.state === "absent") this.refresh();
  }

  #tell(live, fault) {
    this.live = live;
    this.fault = fault;
    this.dispatchEvent(new Event("change"));
    const states = this.list.map((status) => `${status.id} ${status.state}`).join();
    if (states !== this.#states) this.dispatchEvent(new Event("states"));
    this.#states = states;
  }
}

export const feed = new Feed();
