import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { PYTHON, provideNodePrograms, providePythonPrograms } from "./provide-programs.ts";
import { type StorageServer, startStorageServer } from "./storage-server.ts";

/** The only bucket of a server here. */
export const BUCKET = "treadle-test";
/** The keys that s3rver takes; moto takes any. */
export const S3_KEYS = { AWS_ACCESS_KEY_ID: "S3RVER", AWS_SECRET_ACCESS_KEY: "S3RVER" };

/** s3rver checks key ids and the expiry of presigned addresses; not signatures of version 4, and it cannot give up or list multipart uploads. */
export async function startS3rver(): Promise<StorageServer> {
  const programs = await provideNodePrograms();
  return startStorageServer(({ port, folder }) => ({
    file: process.execPath,
    args: [
      join(programs, "node_modules", "s3rver", "bin", "s3rver.js"),
      ...["--directory", folder, "--address", "127.0.0.1", "--port", String(port), "--configure-bucket", BUCKET, "--silent"],
    ],
  }));
}

/** moto has multipart uploads whole, with listing and giving up; it checks no signatures. */
export async function startMoto(): Promise<StorageServer> {
  const programs = await providePythonPrograms("requirements-moto.txt");
  const server = await startStorageServer(({ port }) => ({
    file: PYTHON,
    args: ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)],
    env: { PYTHONPATH: programs, PYTHONDONTWRITEBYTECODE: "1", S3_IGNORE_SUBDOMAIN_BUCKETNAME: "true" },
  }));
  const client = s3Client(server.origin);
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  client.destroy();
  return server;
}

/** A client of the test's own, to look at a server past the driver. */
export function s3Client(endpoint: string, environment: Readonly<Record<string, string | undefined>> = S3_KEYS): S3Client {
  return new S3Client({
    endpoint,
    region: environment.AWS_REGION ?? "us-east-1",
    forcePathStyle: true,
    credentials: {
      accessKeyId: environment.AWS_ACCESS_KEY_ID ?? "",
      secretAccessKey: environment.AWS_SECRET_ACCESS_KEY ?? "",
    },
    requestChecksumCalculation: "WHEN_REQUIRED",
  });
}
