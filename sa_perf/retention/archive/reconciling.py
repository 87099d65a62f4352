"""Make files and manifest agree with the audit, before a run archives.

What was left over from a batch that did not come to its end is removed, and nothing else: only what
has the name of a file of a run of this policy, which this audit knows, and which has ended. Other
files may be another database's, another runner's, or somebody's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.checking import broken, check_file, manifest_of
from sa_perf.retention.archive.naming import readings_of, safe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sa_perf.retention.archive.audited import Audited, AuditedRun
    from sa_perf.retention.archive.manifest import ArchiveFile, Entry, Manifest, Origin
    from sa_perf.retention.archive.storage import Storage

__all__ = ["reconcile"]

log = logging.getLogger("sa_perf.retention")


def reconcile(
    storage: Storage, folder: str, audited: Audited, *, place: str, origin: Origin
) -> set[str]:
    """Remove what was left over, list what was committed and not listed; names of committed files.

    Args:
        storage: where the files lie.
        folder: of the policy.
        audited: the policy's runs and files.
        place: of the archive in words, as the audit has it.
        origin: of the run under way; stands in for that of a run that did not tell its own.

    Raises:
        ArchiveError: a committed file is missing or is not what was written; nothing was removed.
        LeaseLost: another runner has the policy now.
    """
    audited.keep()
    manifest = manifest_of(storage, folder, audited.keep)
    sizes = storage.sizes(folder)
    # In this order: of a run that has ended by now, all batches that ever will be are committed.
    runs = audited.runs()
    _require_listed(manifest, sizes, {one.run for one in runs})
    found = _written_by(sizes.keys() - manifest.entries.keys(), runs)
    committed = audited.committed({one.run for one, _ in found.values()})
    if not manifest.entries:
        _require_there(audited, [one for one in runs if one.place == place], sizes, place)
    for name in sorted(found.keys() & committed.keys()):
        audited.keep()
        run, table = found[name]
        file = check_file(storage, name, sha256=committed[name])
        entry = _entry(file, run.run, table, manifest, origin)
        storage.list_line(folder, name, entry.line())
    for name in sorted(found.keys() - committed.keys()):
        if found[name][0].has_ended:
            audited.keep()
            storage.remove(name)
    return {*manifest.entries, *(found.keys() & committed.keys())}


def _require_listed(manifest: Manifest, sizes: Mapping[str, int], runs: set[str]) -> None:
    """What the manifest names is there; runs that were forgotten may have lost their files."""
    for name, entry in manifest.entries.items():
        if entry.run not in runs:
            continue
        if name not in sizes:
            raise broken(name, "is missing")
        if sizes[name] != entry.file.bytes:
            raise broken(name, f"has {sizes[name]} bytes instead of {entry.file.bytes}")


def _require_there(
    audited: Audited, runs: list[AuditedRun], sizes: Mapping[str, int], place: str
) -> None:
    """Without a manifest: what the runs archived to this place is there nonetheless."""
    names = audited.committed({one.run for one in runs})
    missing = sorted(name for name in names if name not in sizes)
    if missing:
        raise ArchiveError(
            f"archive {place!r} lacks {len(missing)} of {len(names)} files that policy "
            f"{audited.policy!r} archived there, {missing[0]!r} among them; no row was changed; "
            "mount it, or start the run in the folder that a relative path begins in; if they "
            "were moved or removed on purpose, give another path"
        )


def _written_by(names: Iterable[str], runs: list[AuditedRun]) -> dict[str, tuple[AuditedRun, str]]:
    """Files to the run and the table that they are of; those of strangers are told once."""
    known = {safe(one.run): one for one in runs}
    found: dict[str, tuple[AuditedRun, str]] = {}
    strangers = []
    for name in names:
        readings = readings_of(name)
        ours = [(known[run], table) for run, table in readings if run in known]
        if ours:
            found[name] = ours[0]
        elif readings:
            strangers.append(name)
    if strangers:
        log.warning(
            "archive files of runs that the audit does not know are left alone, %r and %d more; "
            "databases that archive to one folder had better have one each",
            min(strangers),
            len(strangers) - 1,
        )
    return found


def _entry(file: ArchiveFile, run: str, table: str, manifest: Manifest, origin: Origin) -> Entry:
    """The line that a file's run did not come to write."""
    of_run = manifest.origins.get(run) or replace(origin, run=run)
    names = [name for name in of_run.tables if safe(name) == table]
    return of_run.entry(file, names[0] if names else "")
