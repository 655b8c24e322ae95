import asyncio
import os

PIECE = 64 * 1024


async def lines():
    for line in ("one\n", "two\n", "three\n"):
        if line != "one\n":
            await asyncio.sleep(0.2)
        yield line


def many(size):
    while size > 0:
        yield b"a" * min(PIECE, size)
        size -= PIECE


def failing():
    yield "one\n"
    raise RuntimeError("The source failed")


def fail(context):
    context.log("before")
    raise ValueError("Custom error message")


def double(context):
    context.res.text("This should be ignored.")
    return context.res.text("This should be returned.")


def headers(context):
    sent = context.req.headers
    return context.res.text(
        "OK",
        200,
        {
            "first-header": "first-value",
            "second-header": sent.get("x-open-runtimes-custom-in-header", "missing"),
            "third-header": sent.get("cookie", "missing"),
            "x-open-runtimes-custom-out-header": "third-value",
        },
    )


def url(context):
    req = context.req
    return context.res.json(
        {
            "url": req.url,
            "port": req.port,
            "path": req.path,
            "query": req.query,
            "queryString": req.query_string,
            "scheme": req.scheme,
            "host": req.host,
        }
    )


def environment(context):
    return context.res.json(
        {
            "given": os.environ["CUSTOM_ENV_VAR"],
            "missing": os.environ.get("NOT_DEFINED_VAR"),
            "secret": os.environ.get("OPEN_RUNTIMES_SECRET"),
        }
    )


def log(context):
    context.log("Debug Log")
    context.error("Error Log")
    context.log("A", 42, True)
    context.log({"object": True})
    print("Native Log")
    return context.res.text("")


def long_log(context):
    context.log("a" * 9000)
    return context.res.text("")


def structured_log(context):
    context.logger.warn("structured", {"key": "value"})
    return context.res.text("")


async def sleep(context):
    await asyncio.sleep(int(context.req.headers["x-ms"]) / 1000)
    return context.res.text("slept")


async def concurrent_log(context):
    id = context.req.headers["x-id"]
    for turn in range(3):
        context.log(id)
        if turn == 1:
            print("native " + id)
        await asyncio.sleep(0.02)
    return context.res.text(id)


async def echoed(body):
    async for piece in body:
        yield piece


def file(context):
    with open(os.path.join(os.path.dirname(__file__), "data.txt")) as opened:
        return context.res.text(opened.read())


ACTIONS = {
    "plainText": lambda context: context.res.text("Hello World 👋"),
    "json": lambda context: context.res.json({"json": True, "message": "Developers are awesome."}),
    "charset": lambda context: context.res.text("ok", 200, {"content-type": "text/plain; charset=iso-8859-1"}),
    "upperCaseType": lambda context: context.res.text("ok", 200, {"content-type": "TEXT/HTML"}),
    "multipart": lambda context: context.res.text("--x--", 200, {"content-type": "multipart/form-data; boundary=12345"}),
    "redirect": lambda context: context.res.redirect("https://example.com/there"),
    "empty": lambda context: context.res.empty(),
    "binary": lambda context: context.res.binary(bytes([0, 10, 255])),
    "noResponse": lambda context: None,
    "double": double,
    "headers": headers,
    "setCookie": lambda context: context.res.text("OK", 200, {"set-cookie": ["a=1; Path=/", "b=2; HttpOnly"]}),
    "status": lambda context: context.res.text("status", int(context.req.headers["x-status"])),
    "method": lambda context: context.res.text(context.req.method),
    "url": url,
    "requestHeaders": lambda context: context.res.json(context.req.headers),
    "bodyText": lambda context: context.res.text(context.req.body_text),
    "bodyJson": lambda context: context.res.json(context.req.body_json),
    "body": lambda context: context.res.json(
        {"kind": "text" if isinstance(context.req.body, str) else "object", "body": context.req.body}
    ),
    "bodyBinary": lambda context: context.res.binary(context.req.body_binary),
    "environment": environment,
    "log": log,
    "longLog": long_log,
    "structuredLog": structured_log,
    "exception": fail,
    "sleep": sleep,
    "concurrentLog": concurrent_log,
    "stream": lambda context: context.res.stream(lines(), 201, {"x-streamed": "yes"}),
    "streamLarge": lambda context: context.res.stream(many(int(context.req.headers["x-size"]))),
    "streamError": lambda context: context.res.stream(failing()),
    "echoStream": lambda context: context.res.stream(echoed(context.req.body_stream)),
    "large": lambda context: context.res.binary(b"a" * int(context.req.headers["x-size"])),
    "file": file,
}


async def main(context):
    action = ACTIONS.get(context.req.headers.get("x-action"))
    if action is None:
        return context.res.text("Unknown action", 404)
    answer = action(context)
    return await answer if asyncio.iscoroutine(answer) else answer
