"""The asyncio loop for functions that await more than their siblings: one, on a thread of its own, made at first need."""

from . import PRISTINE as __builtins__  # noqa: A004

import asyncio
from _contextvars import Context
from _thread import allocate_lock, get_ident, start_new_thread

from .channel import Turn, flush
from .execution import current, system


class _Task(asyncio.Task):
    """Knows the execution it belongs to, for what goes wrong after everybody has stopped looking."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.execution = current.get()


class Loop:
    loop = None
    starting = allocate_lock()
    # Coroutines handed over and not begun yet; a wake-up of the loop takes them all.
    arrived: list = []
    flushing = False


def start():
    with Loop.starting:
        if Loop.loop is None:
            loop = asyncio.new_event_loop()
            loop.set_task_factory(lambda loop, coroutine, **options: _Task(coroutine, loop=loop, **options))
            loop.set_exception_handler(_late)
            start_new_thread(_run, (loop,))
            Loop.loop = loop


def submit(execution, coroutine):
    """Runs a coroutine as the execution's main task. Called from any thread."""
    if Loop.loop is None:
        start()
    first = not Loop.arrived
    Loop.arrived.append((execution, coroutine))
    if first:
        Loop.loop.call_soon_threadsafe(_begin)


def _run(loop):
    current.set(system)
    Turn.defer = _flush_after_turn
    Turn.loop_thread = get_ident()
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException:
            continue  # SystemExit and its like leave run_forever; the task that raised it has its result


def _flush_after_turn():
    if not Loop.flushing:
        Loop.flushing = True
        Loop.loop.call_soon(_flush)
        if Turn.rouse is not None:
            Turn.rouse()


def _flush():
    Loop.flushing = False
    flush()


def _begin():
    arrived = Loop.arrived[:]
    del Loop.arrived[: len(arrived)]
    for execution, coroutine in arrived:
        if execution.closed:
            coroutine.close()
            continue
        context = Context()
        context.run(current.set, execution)
        execution.task = context.run(Loop.loop.create_task, coroutine)
        if execution.closed:
            execution.task.cancel()  # cancelled while it was being made


def _late(loop, context):
    error = context.get("exception")
    task = context.get("task") or context.get("future")
    execution = getattr(task, "execution", None) or current.get()
    text = context.get("message") or "Unhandled exception in the event loop"
    if error is not None:
        from .failures import stack_of

        text += "\n" + stack_of(error)
    execution.log(3, text)
    flush()
