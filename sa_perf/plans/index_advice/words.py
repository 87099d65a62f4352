"""Chosen indexes as advice: names, code, gains, what each costs to keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sa_perf.dialects import Dialect, TableFacts
from sa_perf.dialects.index_trials.definition import IndexDefinition, fitting_name
from sa_perf.plans.index_advice.choice import Helped, Settled, Withheld
from sa_perf.plans.index_advice.code import drop_operation, index_code, upgrade_operation
from sa_perf.plans.index_advice.results import Gain, IndexAdvice, Unadvised, WorkloadQuery
from sa_perf.plans.index_advice.writes import Write, writes_to

__all__ = ["Words"]

_SHOWN_CHARACTERS = 300
_NAMED_CHARACTERS = 120


class Words:
    """Puts indexes into words and code.

    Args:
        dialect: of the database.
        facts: of its tables, by name in lower case.
        writes: of the workload.
        keep_literals: show the statements' literals.
    """

    def __init__(
        self,
        dialect: Dialect,
        facts: Mapping[str, TableFacts],
        writes: Sequence[Write],
        *,
        keep_literals: bool,
    ) -> None:
        self._dialect = dialect
        self._facts = facts
        self._writes = writes
        self._keep_literals = keep_literals
        self._taken: set[str] = {
            index.name.casefold() for one in facts.values() for index in one.indexes
        }

    def advice(self, settled: Sequence[Settled], unverified: str | None) -> tuple[IndexAdvice, ...]:
        """Advice on each index, most saved time first."""
        ranked = sorted(settled, key=_saved, reverse=True)
        return tuple(self._one(each, unverified) for each in ranked)

    def unadvised(self, query: WorkloadQuery, because: str) -> Unadvised:
        """Why there is no advice on a statement."""
        return Unadvised(
            fingerprint=query.fingerprint,
            statement=" ".join(self._shown(query).split())[:_SHOWN_CHARACTERS],
            because=because,
        )

    def withheld(
        self, found: Iterable[Withheld], advice: Iterable[IndexAdvice]
    ) -> tuple[Unadvised, ...]:
        """What would help statements, and harm others more, where nothing else helps them."""
        told = {gain.fingerprint for one in advice for gain in one.gains}
        said = []
        for one in found:
            sql = one.index.create_sql(self._dialect)
            worst = one.harmed[0].case.query
            other = " ".join(self._shown(worst).split())[:_NAMED_CHARACTERS]
            for query in (each.case.query for each in one.helped):
                if query.fingerprint in told:
                    continue
                told.add(query.fingerprint)
                because = (
                    f"{sql} would help it, but the planner would take it for "
                    f"{worst.fingerprint} too ({other}), and lose more by that than is saved."
                )
                said.append(self.unadvised(query, because))
        return tuple(said)

    def _shown(self, query: WorkloadQuery) -> str:
        return (
            query.statement if self._keep_literals else self._dialect.lexer.redact(query.statement)
        )

    def _one(self, settled: Settled, unverified: str | None) -> IndexAdvice:
        index, dialect = settled.index, self._dialect
        name = self._free_name(index)
        concurrently = dialect.concurrent_indexes
        notes = {note: None for one in settled.helped if one.after for note in one.after.notes}
        return IndexAdvice(
            definition=index,
            create_sql=index.create_sql(dialect, name=name, concurrently=concurrently),
            index=index_code(index, dialect, name=name),
            alembic_upgrade=upgrade_operation(index, dialect, name=name),
            alembic_downgrade=drop_operation(index, dialect, name=name),
            gains=tuple(self._gain(one) for one in sorted(settled.helped, key=_weight)),
            touched=tuple(self._gain(one) for one in sorted(settled.touched, key=_weight)),
            verified=unverified is None,
            unverified_because=unverified,
            size_bytes=settled.size_bytes,
            writes=writes_to(index, self._writes, dialect),
            makes_redundant=self._redundant(index),
            notes=tuple(notes),
        )

    def _gain(self, helped: Helped) -> Gain:
        query, after = helped.case.query, helped.after
        return Gain(
            fingerprint=query.fingerprint,
            statement=self._shown(query),
            calls=query.calls,
            mean_seconds=query.mean_seconds,
            cost_before=helped.case.before.cost,
            cost_after=None if after is None else after.cost,
            plan_before=helped.case.before.plan,
            plan_after=None if after is None else after.plan,
        )

    def _redundant(self, index: IndexDefinition) -> tuple[str, ...]:
        """Indexes of the table whose keys begin the new one."""
        facts = self._facts.get(index.table.casefold())
        names = [None if name is None else name.casefold() for name in index.columns]
        if facts is None or index.predicate is not None or any(key.suffix for key in index.keys):
            return ()
        return tuple(
            one.name
            for one in facts.indexes
            if not one.unique
            and not one.primary
            and one.predicate is None
            and one.method.casefold() == "btree"
            and None not in one.columns
            and 0 < len(one.columns) < len(names)
            and [str(name).casefold() for name in one.columns] == names[: len(one.columns)]
            # Of another order than the new one's it can still be walked backwards, not half of it.
            and len({key.descending for key in index.keys[: len(one.columns)]}) == 1
        )

    def _free_name(self, index: IndexDefinition) -> str:
        name, number = index.name, 2
        while name.casefold() in self._taken:
            name = fitting_name(index.name, f"_{number}")
            number += 1
        self._taken.add(name.casefold())
        return name


def _weight(helped: Helped) -> float:
    return -helped.case.weight


def _saved(settled: Settled) -> float:
    """Seconds that are saved, or calls where nothing was measured."""
    total = 0.0
    for one in settled.helped:
        before = one.case.before.cost
        after = None if one.after is None else one.after.cost
        share = 1.0 - after / before if before and after is not None else 0.5
        total += one.case.weight * share
    return total
