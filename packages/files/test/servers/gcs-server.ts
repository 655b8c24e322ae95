import { PYTHON, providePythonPrograms } from "./provide-programs.ts";
import { type StorageServer, startStorageServer } from "./storage-server.ts";

/** The only bucket of the server. */
export const GCS_BUCKET = "treadle-test";

/** Starts the emulator with a thread for each request: as it is, one reader that pauses stops all others. */
const LAUNCH = `
import sys
from http import server
server.ThreadingHTTPServer.request_queue_size = 128
server.HTTPServer = server.ThreadingHTTPServer
from gcp_storage_emulator.__main__ import main
sys.exit(main())
`;

/** gcp-storage-emulator: the JSON API with resumable uploads, whose MD5 it checks. It checks neither credentials nor signatures. */
export async function startGcsEmulator(): Promise<StorageServer> {
  const programs = await providePythonPrograms("requirements-gcs.txt");
  return startStorageServer(({ port, folder }) => ({
    file: PYTHON,
    args: [
      ...["-c", LAUNCH, "--data-dir", folder, "start", "--quiet"],
      ...["--host", "127.0.0.1", "--port", String(port), "--default-bucket", GCS_BUCKET],
    ],
    env: { PYTHONPATH: programs, PYTHONDONTWRITEBYTECODE: "1" },
  }));
}
