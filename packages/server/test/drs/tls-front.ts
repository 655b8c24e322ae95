import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream";
import { promisify } from "node:util";

/** What stands in front of a server in production and speaks https: a reverse proxy with a certificate of its own making. */
export interface TlsFront extends AsyncDisposable {
  /** `https://127.0.0.1:PORT` */
  readonly url: string;
  /** Where requests go on to. Told afterwards, for the server behind has to know the front's address when it starts. */
  leadTo(url: string): void;
}

export async function startTlsFront(): Promise<TlsFront> {
  const folder = await mkdtemp(join(tmpdir(), "treadle-tls-"));
  const [keyFile, certificateFile] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", keyFile, "-out", certificateFile],
  ]);
  const [key, cert] = [await readFile(keyFile), await readFile(certificateFile)];
  await rm(folder, { recursive: true });

  let behind = "";
  const front = createServer({ key, cert }, (incoming, response) => {
    const { method, url, headers } = incoming;
    const onward = request(behind, { method, path: url, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, response, () => {});
    });
    onward.on("error", () => response.destroy());
    pipeline(incoming, onward, () => {});
  });
  front.listen(0, "127.0.0.1");
  await once(front, "listening");
  return {
    url: `https://127.0.0.1:${(front.address() as AddressInfo).port}`,
    leadTo(url) {
      behind = url;
    },
    async [Symbol.asyncDispose]() {
      front.closeAllConnections();
      front.close();
      await once(front, "close");
    },
  };
}
