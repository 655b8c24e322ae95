import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { inParallel } from "../cloud/in-parallel.ts";
import { PARTS_AT_ONCE, type Part, planParts, WHOLE_UP_TO } from "../cloud/part-plan.ts";
import { resend } from "../cloud/resend.ts";
import { digestPart, digestWhole, openPart, type PartDigests } from "../cloud/staged-part.ts";
import { limitStall, limitTime } from "../cloud/time-limits.ts";
import type { StagedBytes } from "../storage-driver.ts";

/** Putting parts together can take a service minutes. */
const COMPLETE_LIMIT_MS = 10 * 60_000;

/** Where an object goes. */
interface Target {
  readonly client: S3Client;
  readonly bucket: string;
  readonly key: string;
}

/**
 * Sends a file, in one request or in parts. The service compares every request's body with its Content-MD5 and with the sha256 that is part of the
 * signature; the object appears whole or not at all. Rejects with errors of the SDK.
 */
export async function putS3Object(target: Target, staged: StagedBytes, caller?: AbortSignal): Promise<void> {
  if (staged.size > WHOLE_UP_TO) return putInParts(target, staged, caller);
  using stall = limitStall(caller);
  const whole = { start: 0, length: staged.size };
  await sendPart(staged.path, whole, await digestWhole(staged, stall.signal), stall, (body) =>
    target.client.send(
      withSha256(
        new PutObjectCommand({
          Bucket: target.bucket,
          Key: target.key,
          Body: body.stream,
          ContentLength: staged.size,
          ContentMD5: body.md5,
        }),
        body.sha256,
      ),
      { abortSignal: stall.signal },
    ),
  );
}

async function putInParts({ client, bucket, key }: Target, staged: StagedBytes, caller?: AbortSignal): Promise<void> {
  const address = { Bucket: bucket, Key: key };
  // Not ended half-way by the caller: an upload whose id we never learn could not be given up.
  using unhurried = limitTime(undefined);
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(address), { abortSignal: unhurried.signal });
  if (UploadId === undefined) throw new Error("it gave no id for a multipart upload");
  try {
    caller?.throwIfAborted();
    using stall = limitStall(caller);
    const parts = await inParallel(planParts(staged.size), PARTS_AT_ONCE, async (part) =>
      sendPart(
        staged.path,
        part,
        await digestPart(staged.path, part, stall.signal),
        stall,
        async (body): Promise<CompletedPart> => {
          const { ETag } = await client.send(
            withSha256(
              new UploadPartCommand({
                ...address,
                UploadId,
                PartNumber: part.number,
                Body: body.stream,
                ContentLength: part.length,
                ContentMD5: body.md5,
              }),
              body.sha256,
            ),
            { abortSignal: stall.signal },
          );
          return { PartNumber: part.number, ETag };
        },
      ),
    );
    using complete = limitTime(caller, COMPLETE_LIMIT_MS);
    await client.send(new CompleteMultipartUploadCommand({ ...address, UploadId, MultipartUpload: { Parts: parts } }), {
      abortSignal: complete.signal,
    });
  } catch (error) {
    using limit = limitTime(undefined);
    // If this fails, too, `sweep` finds the upload later.
    await client
      .send(new AbortMultipartUploadCommand({ ...address, UploadId }), { abortSignal: limit.signal })
      .catch(() => undefined);
    throw error;
  }
}

/** Sends a part until it is taken, opening it anew each time. */
async function sendPart<Result>(
  path: string,
  part: Pick<Part, "start" | "length">,
  digests: PartDigests,
  stall: ReturnType<typeof limitStall>,
  send: (body: { stream: ReturnType<typeof openPart> | Buffer; md5: string; sha256: string }) => Promise<Result>,
): Promise<Result> {
  const md5 = digests.md5.toString("base64");
  const sha256 = digests.sha256.toString("hex");
  return resend(async () => {
    if (part.length === 0) return send({ stream: Buffer.alloc(0), md5, sha256 });
    const stream = stall.watch(openPart(path, part));
    try {
      return await send({ stream, md5, sha256 });
    } finally {
      stream.destroy();
    }
  }, stall.signal);
}

/** Makes the body's digest part of the signature, so that a service that checks signatures checks the body. */
function withSha256<Command extends PutObjectCommand | UploadPartCommand>(command: Command, sha256: string): Command {
  (command as PutObjectCommand).middlewareStack.add(
    (next) => (args) => {
      (args.request as { headers: Record<string, string> }).headers["x-amz-content-sha256"] = sha256;
      return next(args);
    },
    { step: "build", name: "signedPayload" },
  );
  return command;
}
