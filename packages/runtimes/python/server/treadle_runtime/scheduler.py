"""Runs calls on threads so that a blocking one never holds back its neighbours.

One thread leads: it reads the channel, runs each call itself and writes what came of a turn at once; that is what makes
a short call cheap. A watchdog that is awake only while there is traffic sees when the leader has been inside one call
for longer than a tick, and gives the lead to another thread, as Go's sysmon takes a P from a thread in a system call.
The former leader finishes its call, sends the result itself and parks. A function that was slow the last time gives
the lead away before it begins, so that only the first slow call costs its neighbours a tick.
"""

from . import PRISTINE as __builtins__  # noqa: A004

from _thread import RLock, allocate_lock, get_ident, start_new_thread
from _collections import deque
from posix import _exit, read
from time import monotonic, sleep

from .channel import CHANNEL, Turn, flush, out

TICK_SECONDS = 0.01
# The tick while the lead is changing hands: many blocking calls in a row should all get going soon.
SHORT_TICK_SECONDS = 0.001
SLOW_SECONDS = 0.005
# Ticks without work after which the watchdog sleeps until it is woken: an idle instance uses no CPU.
QUIET_TICKS = 20
# Calls that may hold a thread each at the same time; further ones wait, while the channel is still read.
MAXIMUM_STUCK = 64
# How long a thread that lost the lead waits for another job, seconds.
PARKED_SECONDS = 5
# Below the size from which malloc maps and unmaps memory for every read.
READ_BYTES = 64 * 1024
HOLD_RESULTS_SECONDS = 0.001


class Worker:
    __slots__ = ("beat", "busy", "retired", "parked", "thread")

    def __init__(self):
        # Counts jobs begun; unchanged between two ticks while busy means stuck in one.
        self.beat = 0
        self.busy = False
        self.retired = False
        self.thread = 0
        self.parked = allocate_lock()
        self.parked.acquire()


class Scheduler:
    def __init__(self, receive):
        # `receive(data)` takes bytes of the channel and calls `add` for each job.
        self.receive = receive
        self.jobs = deque()
        self.reading = allocate_lock()
        self.roster = RLock()
        self.parked = []
        self.stuck = 0
        self.leader = Worker()
        self.dormant = True
        self.started = False
        self.wake = allocate_lock()
        self.wake.acquire()
        # (time, function): run by the watchdog; see `later`.
        self.timers = []

    def add(self, run, execution, function, body):
        """A job: `run(execution, function, body)`; `function.slow` is read and kept here."""
        self.jobs.append((run, execution, function, body))

    def later(self, seconds, function):
        """Runs a short function on the watchdog's thread after some time."""
        self.timers.append((monotonic() + seconds, function))
        self.rouse()

    def run(self):
        """Serves on the calling thread until the process ends."""
        self._work(self.leader, main=True)

    def _work(self, me, main):
        while True:
            try:
                self._lead(me)
                self._step_down(me)
            except BaseException:
                # Nothing of ours raises here: an interruption meant for user code came late.
                if not me.retired:
                    continue
                self._step_down(me)
            while not me.parked.acquire(timeout=-1 if main else PARKED_SECONDS):
                with self.roster:
                    if me in self.parked:
                        self.parked.remove(me)
                        return

    def _lead(self, me):
        me.thread = get_ident()
        jobs, popleft = self.jobs, self.jobs.popleft
        begun = 0.0
        while True:
            written = monotonic()
            while jobs and self.stuck < MAXIMUM_STUCK:
                try:
                    job = popleft()
                except IndexError:
                    break
                run, execution, function, body = job
                me.beat += 1
                me.busy = True
                if function.slow:
                    begun = monotonic()
                    self._hand_over(me)
                try:
                    run(execution, function, body)
                finally:
                    me.busy = False
                    if Turn.broken:
                        _exit(0)
                if me.retired:
                    function.slow = not function.slow or monotonic() - begun > SLOW_SECONDS
                    return
                if monotonic() - written > HOLD_RESULTS_SECONDS:
                    flush()
                    written = monotonic()
            with self.reading:
                if jobs and self.stuck < MAXIMUM_STUCK:
                    continue
                Turn.gathering = False
                flush()
                data = read(CHANNEL, READ_BYTES)
                if not data:
                    _exit(0)
                Turn.gathering = True
                if self.dormant:
                    self.rouse()
                self.receive(data)

    def _step_down(self, me):
        """After a job during which the lead was taken away: helps out if every thread is stuck, then parks."""
        jobs = self.jobs
        flush()
        while True:
            while jobs and self.stuck >= MAXIMUM_STUCK:
                try:
                    job = jobs.popleft()
                except IndexError:
                    break
                job[0](*job[1:])
                flush()
                if Turn.broken:
                    _exit(0)
            with self.roster:
                self.stuck -= 1
                # A job may have come since the look at `jobs`, left by a leader who counted on this thread.
                if jobs and self.stuck + 1 >= MAXIMUM_STUCK:
                    self.stuck += 1
                    continue
                self.parked.append(me)
                return

    def step_aside(self):
        """The calling thread is about to wait for the host: if it leads, somebody else has to, now and not a tick later."""
        leader = self.leader
        if leader.busy and leader.thread == get_ident():
            self._hand_over(leader)

    def rouse(self):
        self.dormant = False
        if not self.started:
            self.started = True
            start_new_thread(self._watch, ())
        else:
            try:
                self.wake.release()
            except RuntimeError:
                pass  # somebody else was faster

    def rouse_if_dormant(self):
        if self.dormant:
            self.rouse()

    def _watch(self):
        quiet = beat = 0
        tick = TICK_SECONDS
        while True:
            sleep(tick)
            tick = min(2 * tick, TICK_SECONDS)
            leader = self.leader
            if leader.busy:
                quiet = 0
                if leader.beat == beat:
                    self._hand_over(leader)
                    tick = SHORT_TICK_SECONDS
                beat = leader.beat
            else:
                quiet += 1
            if out:
                # Held by a turn that takes long.
                flush()
            if self.timers:
                quiet = 0
                self._run_timers()
            if quiet > QUIET_TICKS:
                self.dormant = True
                if self.leader.busy or self.timers or out or Turn.gathering:
                    self.dormant = False
                    quiet = 0
                    continue
                self.wake.acquire()
                quiet = 0

    def _run_timers(self):
        now = monotonic()
        due = [timer for timer in self.timers if timer[0] <= now]
        for timer in due:
            self.timers.remove(timer)
            try:
                timer[1]()
            except BaseException:
                pass  # a timer of ours that fails must not end the watch

    def _hand_over(self, old):
        with self.roster:
            if old.retired or old is not self.leader:
                return
            if self.parked:
                new = self.parked.pop()
            else:
                new = Worker()
                try:
                    start_new_thread(self._begin, (new,))
                except RuntimeError:
                    return  # no thread to be had; the next tick tries again
            new.retired = new.busy = False
            self.stuck += 1
            self.leader = new
            old.retired = True
            new.parked.release()

    def _begin(self, me):
        me.parked.acquire()
        self._work(me, main=False)
