"""What index_advice.py measures: queries of the corpus before and after the advised indexes.

A gain counts if the query is really at least twice as fast. Where two indexes serve one query, each
is measured alone and left out of the others: one of both must make that difference.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine

from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.plans.index_advice import AdviceReport, IndexAdvice, advise

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plans" / "index_advice"))

from corpus import SCHEMAS, generate  # found by the path above
from corpus.queries import Schema
from corpus.running import Asked, Measured, applied, measured, workload
from corpus.verdicts import is_met, keys_of, unwanted
from index_advice_expert import ExpertIndex, ExpertUnavailable, indexes_by_expert

__all__ = [
    "LEAST_RATIO", "SCHEMAS", "Compared", "GainMeasured", "Measurement", "Missed", "measure",
]  # fmt: skip

#: How many times as fast a query has to become.
LEAST_RATIO = 2.0
#: A query that is slower with all indexes than without, by more than noise.
_SLOWER_RATIO, _SLOWER_SECONDS = 1.5, 0.001


@dataclass(kw_only=True)
class GainMeasured:
    """A query that an advice names.

    Attributes:
        query: its name.
        index: as SQL.
        expected: an expert would make this index for this query.
        before: seconds without.
        alone: seconds with this index only.
        together: seconds with all that are advised.
        ratio: before / together.
        alone_ratio: before / alone.
        marginal_ratio: with all but this one / with all; None where no other serves the query.
        estimated_ratio: as the advice says.
    """

    query: str
    index: str
    expected: bool
    before: float
    alone: float
    alone_ratio: float
    estimated_ratio: float | None
    together: float = 0.0
    ratio: float = 0.0
    marginal_ratio: float | None = None

    @property
    def is_true(self) -> bool:
        """It makes the difference, alone or to the others."""
        return max(self.alone_ratio, self.marginal_ratio or 0.0) >= LEAST_RATIO


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A query for which not all expected indexes are advised, and what they would have given.

    Attributes:
        query: its name.
        indexes: as SQL.
        before: seconds without.
        together: seconds with all that are advised.
        after: seconds with the expected ones too.
        ratio: before / after.
        lacking_ratio: together / after.
        because: what was said instead, if anything.
    """

    query: str
    indexes: tuple[str, ...]
    before: float
    together: float
    after: float
    ratio: float
    lacking_ratio: float
    because: str | None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What .expert says of a query.

    Attributes:
        query: its name.
        ours: table and first key of each index that is advised for it.
        theirs: likewise.
        their_indexes: as SQL.
        our_ratio: how many times as fast the query is with ours.
        their_ratio: with theirs; None where that was not measured.
    """

    query: str
    ours: tuple[tuple[str, str], ...]
    theirs: tuple[tuple[str, str], ...]
    their_indexes: tuple[str, ...]
    our_ratio: float
    their_ratio: float | None

    @property
    def agree(self) -> bool:
        """The same tables, by the same first keys."""
        return set(self.ours) == set(self.theirs)


@dataclass(kw_only=True)
class Measurement:
    """One schema on one database.

    Attributes:
        generated_seconds: until the data were there.
        advised_seconds: until `advise` answered.
        queries: of the workload.
        advice: of the report, as SQL.
        gains: each query of each advice.
        missed: queries that an expert would index and that got nothing.
        other: query -> indexes that were not expected for it.
        unadvised: query -> why nothing could be said.
        unnamed: query that no advice names and that gains -> how many times as fast it is.
        slower: query -> (seconds before, seconds with all indexes).
        compared: with .expert, where it is at hand.
        expert_unavailable: why not.
    """

    schema: str
    generated_seconds: float
    advised_seconds: float = 0.0
    queries: int = 0
    advice: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    gains: list[GainMeasured] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    other: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unadvised: dict[str, str] = field(default_factory=dict)
    unnamed: dict[str, float] = field(default_factory=dict)
    slower: dict[str, tuple[float, float]] = field(default_factory=dict)
    compared: list[Compared] = field(default_factory=list)
    expert_unavailable: str | None = None

    @property
    def false(self) -> tuple[str, ...]:
        """Advised indexes that make none of their queries twice as fast."""
        paying = {gain.index for gain in self.gains if gain.is_true}
        return tuple(index for index in self.advice if index not in paying)


def measure(
    engine: Engine,
    schema: Schema,
    *,
    scale: float,
    statistics: bool,
    repeats: int,
    extensions: Iterable[str] = (),
) -> Measurement:
    """Generate a schema, ask for advice about its workload, and try all of it."""
    started = time.perf_counter()
    generate(engine, schema, scale=scale, statistics=statistics)
    found = Measurement(schema=schema.name, generated_seconds=time.perf_counter() - started)
    with engine.connect() as connection:
        for extension in extensions:
            connection.exec_driver_sql(f"CREATE EXTENSION IF NOT EXISTS {extension}")
        connection.commit()
        trials = _Trials(connection, schema, scale=scale, statistics=statistics, repeats=repeats)
        report = trials.ask(found)
        trials.gains(found, report)
        trials.missed(found, report)
        if engine.dialect.name == "sqlite":
            trials.compare(found, report)
    return found


class _Trials:
    """Runs queries of one schema with and without indexes."""

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        *,
        scale: float,
        statistics: bool,
        repeats: int,
    ) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._rows = schema.rows(scale)
        self._statistics = statistics
        self._repeats = repeats
        self._asked: Mapping[str, Asked] = workload(
            connection, schema, scale=scale, repeats=repeats
        )
        self._together: dict[str, Measured] = {}

    def ask(self, found: Measurement) -> AdviceReport:
        """Ask for advice, and hold it to what was expected."""
        started = time.perf_counter()
        report = advise(
            self._connection.engine,
            [one.recorded for one in self._asked.values()],
            keep_literals=True,
        )
        found.advised_seconds = time.perf_counter() - started
        found.queries = len(self._asked)
        found.advice = tuple(one.create_sql for one in report.advice)
        found.unverified = tuple(one.create_sql for one in report.advice if not one.verified)
        found.unadvised = {one.fingerprint: one.because for one in report.unadvised}
        for name, one in self._asked.items():
            strange = unwanted(one.query.outcome(self._dialect), _advised_for(report, name))
            if strange:
                found.other[name] = tuple(map(_short, strange))
        return report

    def gains(self, found: Measurement, report: AdviceReport) -> None:
        """Measure each advice alone, all together, and all but one where several serve a query."""
        for advice in report.advice:
            with self._with(advice.create_sql):
                found.gains += (
                    self._alone(advice, gain.fingerprint, gain.speedup_ratio)
                    for gain in advice.gains
                )
        everything = [one.create_sql for one in report.advice]
        with self._with(*everything):
            self._together = {name: self._measured(name) for name in self._asked}
        for name, after in self._together.items():
            before = self._asked[name].measured
            slower = after.seconds - before.seconds > _SLOWER_SECONDS
            if slower and before.over(after) < 1 / _SLOWER_RATIO:
                found.slower[name] = (before.seconds, after.seconds)
            named = any(gain.query == name for gain in found.gains)
            if not named and before.over(after) >= LEAST_RATIO:
                found.unnamed[name] = before.over(after)
        for gain in found.gains:
            after = self._together[gain.query]
            gain.together = after.seconds
            gain.ratio = self._asked[gain.query].measured.over(after)
        self._marginal(found, everything)

    def missed(self, found: Measurement, report: AdviceReport) -> None:
        """Try what an expert would make for those that got nothing, or not all of it."""
        everything = [one.create_sql for one in report.advice]
        for name, one in self._asked.items():
            outcome = one.query.outcome(self._dialect)
            if not outcome or is_met(outcome, _advised_for(report, name)):
                continue
            made = [
                wanted.create_sql(f"expected_{number}")
                for number, wanted in enumerate(outcome.indexes)
            ]
            with self._with(*everything, *made):
                after = self._measured(name)
            found.missed.append(
                Missed(
                    query=name,
                    indexes=tuple(made),
                    before=one.measured.seconds,
                    together=self._together[name].seconds,
                    after=after.seconds,
                    ratio=one.measured.over(after),
                    lacking_ratio=self._together[name].over(after),
                    because=found.unadvised.get(name),
                )
            )

    def compare(self, found: Measurement, report: AdviceReport) -> None:
        """Ask .expert about each query; measure its indexes where they are others than ours."""
        file = str(self._connection.engine.url.database)
        for name, one in self._asked.items():
            ours = {(index.table, keys_of(index)[0].split()[0].lower()) for index in
                    _advised_for(report, name)}  # fmt: skip
            try:
                theirs = indexes_by_expert(file, one.measured.statement)
            except ExpertUnavailable as error:
                found.expert_unavailable = str(error)
                continue
            found.compared.append(self._compared(name, tuple(sorted(ours)), theirs))

    def _compared(
        self, name: str, ours: tuple[tuple[str, str], ...], theirs: Sequence[ExpertIndex]
    ) -> Compared:
        made = [index.create_sql(f"by_expert_{number}") for number, index in enumerate(theirs)]
        leading = tuple(sorted({index.leading for index in theirs}))
        before, ratio = self._asked[name].measured, None
        if set(leading) != set(ours) and made:
            with self._with(*made):
                ratio = before.over(self._measured(name))
        return Compared(
            query=name,
            ours=ours,
            theirs=leading,
            their_indexes=tuple(made),
            our_ratio=before.over(self._together[name]),
            their_ratio=ratio,
        )

    def _alone(self, advice: IndexAdvice, name: str, estimated: float | None) -> GainMeasured:
        one, after = self._asked[name], self._measured(name)
        outcome = one.query.outcome(self._dialect)
        return GainMeasured(
            query=name,
            index=advice.create_sql,
            expected=not unwanted(outcome, [advice.definition]),
            before=one.measured.seconds,
            alone=after.seconds,
            alone_ratio=one.measured.over(after),
            estimated_ratio=estimated,
        )

    def _marginal(self, found: Measurement, everything: Sequence[str]) -> None:
        """What is lost without one index, where it does not make the difference by itself."""
        for index in everything:
            unsure = [
                gain
                for gain in found.gains
                if gain.index == index and gain.alone_ratio < LEAST_RATIO
            ]
            shared = [
                gain
                for gain in unsure
                if any(other.query == gain.query and other is not gain for other in found.gains)
            ]
            if not shared:
                continue
            with self._with(*(one for one in everything if one != index)):
                for gain in shared:
                    without = self._measured(gain.query)
                    gain.marginal_ratio = without.over(self._together[gain.query])

    def _with(self, *statements: str) -> object:
        return applied(self._connection, statements, statistics=self._statistics)

    def _measured(self, name: str) -> Measured:
        query = self._asked[name].query
        return measured(self._connection, query, query.values(self._rows), repeats=self._repeats)


def _advised_for(report: AdviceReport, name: str) -> list[IndexDefinition]:
    return [
        advice.definition
        for advice in report.advice
        if any(gain.fingerprint == name for gain in advice.gains)
    ]


def _short(index: IndexDefinition) -> str:
    where = f" WHERE {index.predicate}" if index.predicate else ""
    return f"{index.table} ({', '.join(keys_of(index))}){where}"
