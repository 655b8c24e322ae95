"""CANCEL: ends the code of an execution the host has given up on, as far as Python allows."""

from . import PRISTINE as __builtins__  # noqa: A004

from _thread import allocate_lock

from .execution import open_executions

# How long code gets to end before the host is told that it still holds a thread, and how often it is asked.
PATIENCE_SECONDS = 0.1
STEP_SECONDS = 0.02


class Cancelled(BaseException):
    """Raised inside user code of a cancelled execution; not an Exception, so that `except Exception` lets it through."""


# Held while an exception is injected and while a thread leaves its execution, so that it never strikes the next one.
_interrupting = allocate_lock()


def cancel(id, scheduler):
    execution = open_executions.get(id)
    if execution is None or not execution.give_up():
        return  # ended a moment ago; the answer is on its way
    if execution.task is not None:
        _cancel_task(execution, scheduler)
    elif execution.thread is not None:
        _interrupt(execution, scheduler, PATIENCE_SECONDS)
    else:
        execution.send_cancelled(False)


def _interrupt(execution, scheduler, patience):
    def step():
        running = interrupt(execution) if patience > 0 else execution.thread is not None
        if not running or patience <= 0:
            execution.send_cancelled(running)
        else:
            _interrupt(execution, scheduler, patience - STEP_SECONDS)

    scheduler.later(0 if patience == PATIENCE_SECONDS else STEP_SECONDS, step)


def interrupt(execution):
    """Raises Cancelled inside the code of an execution; false when it holds no thread."""
    with _interrupting:
        if execution.thread is None:
            return False
        execution.interrupted = True
        _raise_in(execution.thread, Cancelled)
        return True


def settle(execution):
    """On the thread of a cancelled execution, when its code has ended: takes back what has not struck yet."""
    while True:
        try:
            with _interrupting:
                if execution.interrupted:
                    _raise_in(execution.thread, None)
                execution.thread = None
            return
        except Cancelled:
            continue


def _raise_in(thread, exception):
    """A thread inside a C function (a sleep, a read) notices only when it comes back to Python."""
    try:
        import ctypes
    except ImportError:
        return
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    set_exception(ctypes.c_ulong(thread), ctypes.py_object(exception) if exception is not None else None)


def _cancel_task(execution, scheduler):
    from .event_loop import Loop

    seen = []

    def ask():
        execution.task.cancel()
        seen.append(True)

    def look(patience):
        if execution.task.done() or patience <= 0:
            # A task that only waits holds no thread; a loop that did not come round is held by somebody.
            execution.send_cancelled(not seen)
        else:
            scheduler.later(STEP_SECONDS, lambda: look(patience - STEP_SECONDS))

    Loop.loop.call_soon_threadsafe(ask)
    scheduler.later(STEP_SECONDS, lambda: look(PATIENCE_SECONDS))
