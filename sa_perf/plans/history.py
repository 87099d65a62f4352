"""Plans that a statement had before, and what changed between them.

A plan's shape (operations, relations, indexes, no numbers) has a hash. A fingerprint whose shape
changes gets a `PlanChange`: both plans, the difference in words, and how long its slow executions
took under each. Bounded; thread-safe.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sa_perf.dialects import Plan, PlanNode
from sa_perf.finding import Finding

if TYPE_CHECKING:
    from sa_perf.finding import Severity
    from sa_perf.plans.results import ExplainedStatement

__all__ = ["PlanChange", "PlanHistory", "differences", "finding_of_change"]

_MAX_CHANGES = 200
_MAX_FINGERPRINTS = 1_000
#: Of all plans' texts together, as in `sa_perf.plans.memory`.
_MAX_CHARACTERS = 8_000_000
#: From this ratio of the durations on a change is called slower, or below its inverse faster.
_CLEARLY = 1.5
_SEVERE = 4.0
#: How a relation is read, in words; other operations are named as they are.
_WORDS = {
    "full_scan": "read whole",
    "index_full_scan": "read whole in the order of an index",
    "index_scan": "found by an index",
    "index_only_scan": "answered by an index alone",
    "key_lookup": "found by its key",
    "bitmap_scan": "found by a bitmap of indexes",
    "automatic_index": "found by an index made for this one run",
}
_STEPS = (
    "nested_loop", "hash_join", "merge_join", "sort", "materialize", "memoize", "aggregate",
    "group", "distinct", "gather", "bloom_filter",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """A statement that is run in another way than before.

    Attributes:
        fingerprint: id of the statement's shape.
        database: ``Database.label`` of where it ran.
        changed_at: when the new plan was seen first, aware UTC.
        before: the plan before.
        after: the plan since.
        differences: what changed, a sentence each.
        slow_calls_before: slow executions that were seen under the plan before.
        mean_seconds_before: their mean duration; 0.0 where there was none.
        slow_calls_after: the same since.
        mean_seconds_after: the same since.
    """

    fingerprint: str
    database: str | None
    changed_at: datetime
    before: Plan
    after: Plan
    differences: tuple[str, ...]
    slow_calls_before: int
    mean_seconds_before: float
    slow_calls_after: int = 0
    mean_seconds_after: float = 0.0

    @property
    def slower_ratio(self) -> float | None:
        """Mean duration since, in means before; None where one of them is not known."""
        if not self.mean_seconds_before or not self.mean_seconds_after:
            return None
        return self.mean_seconds_after / self.mean_seconds_before


class _Current:
    """The plan that a fingerprint has now, and the slow executions under it."""

    __slots__ = ("calls", "plan", "seconds")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.calls = 0
        self.seconds = 0.0

    def mean(self) -> float:
        return self.seconds / self.calls if self.calls else 0.0


class PlanHistory:
    """The plan that each fingerprint has now, and the last changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: OrderedDict[str, _Current] = OrderedDict()
        self._changes: OrderedDict[str, PlanChange] = OrderedDict()
        self._characters = 0

    def ran(self, fingerprint: str, seconds: float) -> None:
        """Take note of a slow execution. Under a microsecond."""
        current = self._current.get(fingerprint)
        if current is not None:
            current.calls += 1
            current.seconds += seconds

    def explained(self, result: ExplainedStatement) -> None:
        """Take note of a plan."""
        if result.plan is None:
            return
        with self._lock:
            known = self._current.get(result.fingerprint)
            if known is not None and known.plan.shape_hash == result.plan.shape_hash:
                self._current.move_to_end(result.fingerprint)
                return
            if known is not None:
                self._changed(result, known, result.plan)
                self._characters -= _characters(known.plan)
            current = self._current[result.fingerprint] = _Current(result.plan)
            # The execution that had it explained is its first.
            current.calls, current.seconds = 1, result.duration_seconds
            self._current.move_to_end(result.fingerprint)
            self._characters += _characters(result.plan)
            self._forget_oldest()

    def changes(self) -> tuple[PlanChange, ...]:
        """The last change of each fingerprint, newest first."""
        with self._lock:
            found = [self._up_to_date(one) for one in self._changes.values()]
        return tuple(reversed(found))

    def start_anew(self) -> None:
        """Go on in a forked child: the lock may have been in another thread's hand."""
        self._lock = threading.Lock()

    def _changed(self, result: ExplainedStatement, known: _Current, plan: Plan) -> None:
        calls, seconds = known.calls, known.seconds
        if calls > 1:
            # The last one was run by the new plan already: it is why it was explained.
            calls, seconds = calls - 1, seconds - result.duration_seconds
        self._forget_change(result.fingerprint)
        self._characters += _characters(known.plan)
        self._changes[result.fingerprint] = PlanChange(
            fingerprint=result.fingerprint,
            database=result.database,
            changed_at=result.explained_at,
            before=known.plan,
            after=plan,
            differences=differences(known.plan, plan),
            slow_calls_before=calls,
            mean_seconds_before=max(0.0, seconds) / calls if calls else 0.0,
        )

    def _forget_oldest(self) -> None:
        """Keep to the bounds: the newest plan stays, changes go before the plans there are."""
        while len(self._changes) > _MAX_CHANGES or (
            self._characters > _MAX_CHARACTERS and self._changes
        ):
            self._forget_change(next(iter(self._changes)))
        while len(self._current) > _MAX_FINGERPRINTS or (
            self._characters > _MAX_CHARACTERS and len(self._current) > 1
        ):
            fingerprint, current = self._current.popitem(last=False)
            self._characters -= _characters(current.plan)
            self._forget_change(fingerprint)

    def _forget_change(self, fingerprint: str) -> None:
        change = self._changes.pop(fingerprint, None)
        self._characters -= 0 if change is None else _characters(change.before)

    def _up_to_date(self, change: PlanChange) -> PlanChange:
        current = self._current.get(change.fingerprint)
        if current is None or current.plan is not change.after:
            return change
        return replace(change, slow_calls_after=current.calls, mean_seconds_after=current.mean())


def _characters(plan: Plan) -> int:
    """Of its texts. The plan after a change is its fingerprint's own and counts once."""
    return len(plan.statement) + len(plan.raw)


def differences(before: Plan, after: Plan) -> tuple[str, ...]:
    """What another plan does otherwise, a sentence each; tables first. Pure."""
    found = [*_of_relations(before.root, after.root), *_of_steps(before.root, after.root)]
    return tuple(found) or ("the same steps in another order",)


def _of_relations(before: PlanNode, after: PlanNode) -> Iterator[str]:
    was, now = _ways(before), _ways(after)
    for name in dict.fromkeys([*was, *now]):
        if name not in now:
            yield f"{name} is not read any more"
        elif name not in was:
            yield f"{name} is {now[name]}, and was not read before"
        elif was[name] != now[name]:
            yield f"{name} is {now[name]}, and was {was[name]}"


def _ways(root: PlanNode) -> dict[str, str]:
    """Each relation, by its alias, and how it is read."""
    found: dict[str, list[str]] = {}
    for node in root.walk():
        if node.relation is None:
            continue
        name = node.relation if node.alias is None else f"{node.relation} ({node.alias})"
        way = _WORDS.get(node.operation, node.operation.replace("_", " "))
        found.setdefault(name, []).append(f"{way} {node.index}" if node.index else way)
    return {name: " and ".join(dict.fromkeys(ways)) for name, ways in found.items()}


def _of_steps(before: PlanNode, after: PlanNode) -> Iterator[str]:
    was = Counter[str](node.operation for node in before.walk())
    now = Counter[str](node.operation for node in after.walk())
    for step in _STEPS:
        words = step.replace("_", " ")
        if now[step] and not was[step]:
            yield f"there is a {words} now"
        elif was[step] and not now[step]:
            yield f"there is no {words} any more"
        elif now[step] != was[step]:
            yield f"there are {now[step]} steps of {words} instead of {was[step]}"


def finding_of_change(change: PlanChange) -> Finding:
    """The finding of a change: a warning where it made the statement slower."""
    ratio = change.slower_ratio
    severity: Severity = "info"
    effect = "how long it takes since is not known yet"
    if ratio is not None:
        times = f"{change.mean_seconds_after:.3g} s instead of {change.mean_seconds_before:.3g} s"
        word = "slower" if ratio >= _CLEARLY else "faster" if ratio <= 1 / _CLEARLY else "as fast"
        effect = f"its slow executions are {word} ({times} in the mean)"
        if ratio >= _CLEARLY:
            severity = "critical" if ratio >= _SEVERE else "warning"
    return Finding(
        kind="plan_changed",
        severity=severity,
        message=f"The plan changed: {'; '.join(change.differences)}; {effect}.",
        remedy=(
            "Look at both plans. Where the new one is worse, renew the statistics of its tables "
            "(ANALYZE), then look for an index that was dropped or a condition that changed."
        ),
        fingerprint=change.fingerprint,
        evidence={
            "shape_before": change.before.shape_hash,
            "shape_after": change.after.shape_hash,
            "slow_calls_before": change.slow_calls_before,
            "slow_calls_after": change.slow_calls_after,
            "mean_seconds_before": change.mean_seconds_before,
            "mean_seconds_after": change.mean_seconds_after,
        },
    )
