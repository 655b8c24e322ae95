import type { S3ClientConfig } from "@aws-sdk/client-s3";
import { TreadleError } from "@treadle/errors";
import { readCloudUrl, yesOrNo } from "../cloud/cloud-url.ts";

/** What a storage URL `s3://bucket/prefix?…` and the environment say. */
export interface S3Settings {
  readonly bucket: string;
  readonly prefix: string;
  readonly client: S3ClientConfig;
  /** Whether it is Amazon's own service. */
  readonly amazon: boolean;
  /** Whether addresses of the service may be handed out. */
  readonly presign: boolean;
  readonly secrets: readonly (string | undefined)[];
}

/**
 * Query words: `region`, `endpoint` (another service than Amazon's), `path-style` (default: yes with an endpoint), `presign` (no: hand out
 * no addresses, because clients cannot reach the endpoint). Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else the
 * SDK's chain (profiles, web identity, container and machine roles).
 * @throws INVALID_SETTING
 */
export function readS3Settings(url: URL, environment: Readonly<Record<string, string | undefined>>): S3Settings {
  const { bucket, prefix, words, endpoint: named } = readCloudUrl(url, ["region", "endpoint", "path-style", "presign"]);
  const ambient = environment.AWS_ENDPOINT_URL_S3 ?? environment.AWS_ENDPOINT_URL;
  const endpoint = named?.href ?? ambient;
  const region = words.region ?? environment.AWS_REGION ?? environment.AWS_DEFAULT_REGION;
  if (region !== undefined && !/^[a-z0-9-]{1,40}$/i.test(region)) {
    throw new TreadleError("INVALID_SETTING", `TREADLE_STORAGE_URL: ${JSON.stringify(region)} is no name of a region.`);
  }
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = environment;
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    throw new TreadleError("INVALID_SETTING", "Of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set.");
  }
  return {
    bucket,
    prefix,
    amazon: endpoint === undefined || /\.amazonaws\.com(\.cn)?$/.test(new URL(endpoint).hostname),
    presign: yesOrNo("presign", words.presign, true),
    secrets: [secretAccessKey, sessionToken],
    client: {
      ...(endpoint === undefined ? {} : { endpoint, region: region ?? "us-east-1" }),
      ...(region === undefined ? {} : { region }),
      ...(accessKeyId === undefined || secretAccessKey === undefined
        ? {}
        : { credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) } }),
      forcePathStyle: yesOrNo("path-style", words["path-style"], endpoint !== undefined),
      // Many compatible services know nothing of the newer checksums; bodies are checked by their signed sha256 and Content-MD5 instead.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      expectContinueHeader: false,
      maxAttempts: 3,
      requestHandler: {
        connectionTimeout: 5_000,
        // A reader that pauses is not a dead connection; calls and streams have limits of their own.
        socketTimeout: 0,
        httpAgent: { maxSockets: 128 },
        httpsAgent: { maxSockets: 128 },
      },
    },
  };
}
