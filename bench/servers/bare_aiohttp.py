"""The least an aiohttp server can do for the same answer. The first argument is the folder it is installed in."""

import asyncio
import signal
import sys
import time

sys.path.insert(0, sys.argv[1])

from aiohttp import web  # noqa: E402


async def hello(request):
    start = time.perf_counter()
    body = await request.json()
    result = "Hello " + body["parameters"]["name"]
    return web.json_response({"result": result, "logs": [], "duration": (time.perf_counter() - start) * 1000})


async def main():
    application = web.Application()
    application.router.add_post("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()


asyncio.run(main())
