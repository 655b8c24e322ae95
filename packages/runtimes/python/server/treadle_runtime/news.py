"""Waiting for something to change, on a thread or in a coroutine, for bodies that come or leave in pieces."""

from . import PRISTINE as __builtins__  # noqa: A004

from _thread import allocate_lock


class Waiting:
    """Set by the frames transport: called before a thread waits for what only the channel brings."""

    step_aside = None


class News:
    """Wakes the one who waits: `tell()` after each change, from any thread."""

    __slots__ = ("lock", "future")

    def __init__(self):
        self.lock = allocate_lock()
        self.lock.acquire()
        self.future = None

    def tell(self):
        try:
            self.lock.release()
        except RuntimeError:
            pass  # told already, and not looked at yet
        future, self.future = self.future, None
        if future is not None:
            try:
                future.get_loop().call_soon_threadsafe(_wake, future)
            except RuntimeError:
                pass  # the loop has ended

    def wait(self, condition, seconds=-1):
        """Blocks this thread until the condition holds; false when that took too long."""
        if condition():
            return True
        if Waiting.step_aside is not None:
            Waiting.step_aside()
        while not condition():
            if not self.lock.acquire(True, seconds):
                return condition()
        return True

    async def wait_async(self, condition):
        from asyncio import get_running_loop

        while not condition():
            self.future = future = get_running_loop().create_future()
            if condition():
                return
            await future


def _wake(future):
    if not future.done():
        future.set_result(None)
