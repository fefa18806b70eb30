import { call } from "./client.js";
import { whoAmI } from "./session.js";

/** The models that requests may name, those that are ready first. */
export async function served() {
  const { data } = await call("GET", "/v1/models");
  const allowed = whoAmI().models;
  const mine = data.filter((model) => !allowed || allowed.includes(model.id));
  return mine.sort((a, b) => (b.state === "ready") - (a.state === "ready"));
}
