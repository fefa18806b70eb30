import { call } from "./client.js";

/** What the server says of itself: versions, memory, the options of deployments. Asked each time. */
export const serverInfo = () => call("GET", "/v1/server");
