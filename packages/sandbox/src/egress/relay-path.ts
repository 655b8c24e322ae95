import { fileURLToPath } from "node:url";

/**
 * Host path of the relay: mount it read-only and start programs as `node RELAY -- command args...`, and they reach the
 * egress proxy through the usual proxy variables.
 */
export const egressRelayPath: string = fileURLToPath(new URL("../relay/relay.mjs", import.meta.url));
