"""A bounded queue and the one daemon thread that works it off.

The thread starts when something is put in and ends when nothing came for a while, so an idle
application has no thread of ours. A thread that hangs is left behind; a forked child starts anew.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sa_perf.plans.offers import Offer

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["Turn", "Worker"]

_IDLE_SECONDS = 1.0
#: The worker rests so that it takes at most a tenth of one processor.
_REST_RATIO = 9.0
_MAX_REST_SECONDS = 1.0
_MAX_ABANDONED = 3
#: Connections that a parent process had open when it forked: the child may not even close them,
#: since that would end the parent's sessions.
_inherited: list[object] = []


class Worker:
    """Runs offers one after the other in a thread of its own.

    Args:
        size: offers that may wait, >= 1.
        hang_seconds: an offer that takes longer than this is hopeless, > 0.
        now: monotonic seconds.
        run: works off offers through the `Turn` that it is given, until that gives no more.
        failed: is told of what ``run`` raised and of the offers that fell with it.
    """

    def __init__(
        self,
        *,
        size: int,
        hang_seconds: float,
        now: Callable[[], float],
        run: Callable[[Turn], None],
        failed: Callable[[BaseException, list[Offer]], None],
    ) -> None:
        self.now = now
        self._size = size
        self._hang_seconds = hang_seconds
        self._run = run
        self._failed = failed
        self.abandoned = 0
        self.closed = False
        self._turn: Turn | None = None
        self.start_anew()

    def start_anew(self) -> None:
        """Begin with an empty queue and no thread, as a forked child must."""
        if self._turn is not None:
            _inherited.append(self._turn.held)
        #: Guards all below; notified whenever any of it changes.
        self.changed = threading.Condition()
        self.queue: deque[Offer] = deque()
        self.hurried = 0
        self.resting = False
        self._turn = None
        self._thread: threading.Thread | None = None

    def put(self, offer: Offer) -> bool:
        """Queue an offer and see to it that a thread runs; False if the queue is full or closed."""
        with self.changed:
            if self._turn is not None and self._turn.hangs(self._hang_seconds):
                self._leave_behind()
            if self.closed or len(self.queue) >= self._size:
                return False
            if self._turn is None and not self.resting and not self._start():
                return False
            self.queue.append(offer)
            self.changed.notify_all()
            return True

    def _start(self) -> bool:
        turn = Turn(self)
        thread = threading.Thread(
            target=self._work, args=(turn,), name="sa_perf-explain", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, or the machine has no thread left
            return False
        self._turn, self._thread = turn, thread
        return True

    def drain(self, timeout_seconds: float) -> bool:
        """Wait until nothing is queued or being worked at; False if that took too long."""
        with self.changed:
            self.hurried += 1
            self.changed.notify_all()
            try:
                return self.changed.wait_for(self._is_idle, timeout_seconds)
            finally:
                self.hurried -= 1

    def rest(self, timeout_seconds: float) -> None:
        """End the thread before the process forks; the queue is kept for `go_on`.

        A child that is forked while a thread is inside the database's library, or inside an
        import, would wait forever for a lock that nobody there gives back.
        """
        with self.changed:
            self.resting = True
            thread = self._thread
            self.changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)

    def go_on(self) -> None:
        """Work again after `rest`."""
        with self.changed:
            self.resting = False
            if self.queue and self._turn is None:
                self._start()

    def close(self, timeout_seconds: float) -> None:
        """Forget the queue and end the thread; one that does not end in time is left behind."""
        with self.changed:
            self.closed = True
            self.queue.clear()
            thread = self._thread
            self.changed.notify_all()
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout_seconds)
        with self.changed:
            if thread.is_alive() and self._turn is not None:
                self._leave_behind()

    def _is_idle(self) -> bool:
        return not self.queue and (self._turn is None or self._turn.busy_since is None)

    def _leave_behind(self) -> None:
        self.abandoned += 1
        self._turn = self._thread = None
        if self.abandoned >= _MAX_ABANDONED:
            self.closed = True
            self.queue.clear()
        self.changed.notify_all()

    def stops(self, turn: Turn) -> bool:
        """Whether a turn's thread must end."""
        return self.closed or self.resting or not self.is_current(turn)

    def is_current(self, turn: Turn) -> bool:
        """Whether a turn's thread is the one that counts."""
        return self._turn is turn

    def _work(self, turn: Turn) -> None:
        try:
            while turn.may_go_on():
                try:
                    self._run(turn)
                # A driver may cancel or exit, which nobody waits for in a thread of ours.
                except BaseException as error:
                    self._failed(error, self._fallen(turn))
                finally:
                    turn.done()
        finally:
            with self.changed:
                self.end(turn)

    def _fallen(self, turn: Turn) -> list[Offer]:
        """The offer that was worked at; if none was, no connection is to be had for any."""
        with self.changed:
            if turn.offer is not None:
                return [turn.offer]
            fallen = list(self.queue) if self.is_current(turn) else []
            if fallen:
                self.queue.clear()
            return fallen

    def end(self, turn: Turn) -> None:
        """Take the thread that ends off the books. The caller holds ``changed``."""
        if self.is_current(turn):
            self._turn = self._thread = None
            self.changed.notify_all()


class Turn:
    """One thread's turn at the queue.

    Attributes:
        held: the connection in use, so that a forked child can keep its hands off it.
        offer: what is being worked at.
        busy_since: when that began.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._rest_until = 0.0
        self.held: ConnectionPoolEntry | None = None
        self.offer: Offer | None = None
        self.busy_since: float | None = None

    def hangs(self, limit_seconds: float) -> bool:
        """Whether the offer in work takes hopelessly long."""
        return self.busy_since is not None and self._worker.now() - self.busy_since > limit_seconds

    def may_go_on(self) -> bool:
        """Wait for something to do; False when the thread must end. Marks the turn as busy."""
        worker = self._worker
        with worker.changed:
            worker.changed.wait_for(lambda: worker.queue or worker.stops(self), _IDLE_SECONDS)
            if worker.stops(self) or not worker.queue:
                worker.end(self)
                return False
            self.busy_since = worker.now()
            return True

    def next_is_prepared(self) -> bool:
        """Whether the next offer has its plan already, so that no connection is needed."""
        with self._worker.changed:
            return bool(self._worker.queue) and self._worker.queue[0].plan is not None

    def take(self) -> Offer | None:
        """The next offer, after a rest and for at most a second of waiting; None: stop."""
        worker = self._worker
        with worker.changed:
            self.busy_since = None if not worker.queue else self.busy_since
            rest = self._rest_until - time.monotonic()
            if rest > 0:
                worker.changed.wait_for(lambda: self._is_hurried() or worker.stops(self), rest)
            worker.changed.wait_for(lambda: worker.queue or worker.stops(self), _IDLE_SECONDS)
            if worker.stops(self) or not worker.queue:
                return None
            self.busy_since = worker.now()
            self._started = time.monotonic()
            self.offer = worker.queue.popleft()
            return self.offer

    def done(self) -> None:
        """The offer in work is finished; its bind values are let go."""
        with self._worker.changed:
            if self.offer is not None:
                ended = time.monotonic()
                rest = (ended - self._started) * _REST_RATIO
                self._rest_until = ended + min(rest, _MAX_REST_SECONDS)
            self.offer = None
            self.busy_since = None
            self._worker.changed.notify_all()

    def is_current(self) -> bool:
        """Whether what this turn finds out still counts."""
        return self._worker.is_current(self)

    def _is_hurried(self) -> bool:
        return self._worker.hurried > 0
