import { join } from "node:path";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { provideNodePrograms } from "./provide-programs.ts";
import { type StorageServer, startStorageServer } from "./storage-server.ts";

/** The only container of the server. */
export const CONTAINER = "treadle-test";
/** The server's account; its key was made for these tests. */
export const AZURE_ACCOUNT = {
  AZURE_STORAGE_ACCOUNT: "treadle",
  AZURE_STORAGE_KEY: Buffer.from("a key of a test account").toString("base64"),
};

/** Azurite, Microsoft's emulator, with its blob service. Its endpoint is the origin followed by the account. */
export async function startAzurite(): Promise<StorageServer> {
  const programs = await provideNodePrograms();
  const server = await startStorageServer(({ port, folder }) => ({
    file: process.execPath,
    args: [
      join(programs, "node_modules", "azurite", "dist", "src", "blob", "main.js"),
      ...["--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", folder],
      // The client may be newer than the emulator.
      ...["--skipApiVersionCheck", "--disableTelemetry", "--silent"],
    ],
    env: { AZURITE_ACCOUNTS: `${AZURE_ACCOUNT.AZURE_STORAGE_ACCOUNT}:${AZURE_ACCOUNT.AZURE_STORAGE_KEY}` },
  }));
  const { AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_KEY } = AZURE_ACCOUNT;
  const credential = new StorageSharedKeyCredential(AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_KEY);
  await new BlobServiceClient(`${server.origin}/${AZURE_STORAGE_ACCOUNT}`, credential).createContainer(CONTAINER);
  return server;
}
