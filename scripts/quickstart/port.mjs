import { createServer } from "node:net";

/** Ends the process with advice when the port cannot be had; better than the server's own report amid its log. */
export async function ensurePortIsFree(host, port) {
  const probe = createServer();
  const error = await new Promise((resolve) => {
    probe.once("error", resolve);
    try {
      probe.listen(Number(port), host, () => probe.close(() => resolve(null)));
    } catch (invalid) {
      resolve(invalid);
    }
  });
  if (error === null) return;
  console.error(
    error.code === "EADDRINUSE"
      ? `quickstart: port ${port} of ${host} is taken by another program. Stop that one, or take another port:\n\n    PORT=${Number(port) + 1} npm run quickstart\n`
      : `quickstart: cannot listen on port ${port} of ${host}: ${error.message}`,
  );
  process.exit(1);
}
