"""Who was forgotten stays it: an erasure journal that is missing, older or another's is not gone on with in silence."""

from pathlib import Path

import pytest

from harmonia import failpoints
from harmonia.errors import StorageUnreadable
from harmonia.journal import ALL, NO_STREAM, SHREDDED, OutcomeUnknown
from harmonia.journal.erasures import Erasures
from harmonia.journal.keys import KeyStore
from harmonia.journal.opening import open_sealed

GONE = r"erasure journal .*apart.* is gone, or its disk is not mounted.*mount the disk.*serve --new-erasures"
OTHER = r"erasure journal .*apart.* is not the one that this sanctuary used last, or an older copy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """The erasure journal, on what could be another disk."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk" / "apart"


def awake(folder: Path, apart: Path, *forgotten: str) -> None:
    """A life of a sanctuary, in which some are forgotten."""
    journal = open_sealed(folder, erasures=apart)
    for name in forgotten:
        journal.append(f"person/{name}", NO_STREAM, b"1", b"said")
        journal.shred(f"person/{name}")
    journal.close()


def refused(folder: Path, apart: Path, why: str) -> None:
    with pytest.raises(StorageUnreadable, match=why) as caught:
        open_sealed(folder, erasures=apart)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("forgotten", [(), ("ada",)])
def test_one_whose_disk_is_not_mounted_is_not_begun_anew(folder: Path, apart: Path, forgotten: tuple[str, ...]) -> None:
    awake(folder, apart, *forgotten)
    data = apart.read_bytes()
    apart.unlink()
    for _ in range(2):
        refused(folder, apart, GONE)
        assert not apart.exists(), "what lies in the empty place would be hidden once the disk is mounted"
    apart.parent.rmdir()
    refused(folder, apart, GONE)
    apart.parent.mkdir()
    apart.touch()
    refused(folder, apart, GONE)
    assert apart.read_bytes() == b""
    apart.write_bytes(data)
    awake(folder, apart, "bo")
    assert apart.read_bytes().startswith(data)


def test_the_one_in_the_data_folder_is_missed_too(folder: Path, apart: Path) -> None:
    awake(folder, folder / "erasures", "ada")
    refused(folder, apart, GONE)  # as when somebody says --erasures for the first time and moves nothing
    (folder / "erasures").rename(apart)
    awake(folder, apart)


def test_an_older_copy_is_noticed_and_another_journal(folder: Path, apart: Path, tmp_path: Path) -> None:
    awake(folder, apart)
    copies = [apart.read_bytes()]
    for name in ("ada", "bo"):
        awake(folder, apart, name)
        copies.append(apart.read_bytes())
    *older, newest = copies
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    awake(elsewhere, tmp_path / "other", "x", "y", "z")
    longer = older[1] + (tmp_path / "other").read_bytes().split(b"\n", 1)[1]
    for bad in (*older, longer, (tmp_path / "other").read_bytes()):
        apart.write_bytes(bad)
        refused(folder, apart, OTHER)
        assert apart.read_bytes() == bad
    apart.write_bytes(newest)
    awake(folder, apart)


def test_what_a_crash_leaves_is_gone_on_with(folder: Path, apart: Path) -> None:
    """A line is on disk before the key store has heard of it; or it was cut."""
    awake(folder, apart, "ada")
    erasures = Erasures(apart)
    erasures.add("person/bo")
    erasures.close()
    for cut in (b"", b"0123", b"ledger 0"):
        apart.write_bytes(apart.read_bytes() + cut)
        awake(folder, apart)
    awake(folder, apart, "cy")


@pytest.mark.parametrize(
    "place", ["erasures.name", "erasures.written", "erasures.named", "keys.delete", "keys.deleted"]
)
def test_after_a_failure_on_the_way_it_is_still_the_one_that_was_used_last(
    folder: Path, apart: Path, place: str
) -> None:
    journal = open_sealed(folder, erasures=apart)
    for name in ("ada", "bo"):
        journal.append(f"person/{name}", NO_STREAM, b"1", b"said")
    failpoints.arm(f"{place}=error")
    try:
        with pytest.raises(OutcomeUnknown):
            journal.shred("person/ada")
    finally:
        failpoints.arm("")
    for name in ("bo", "ada"):
        journal.shred(f"person/{name}")
    journal.close()
    awake(folder, apart)


def test_another_one_is_begun_where_somebody_says_so(folder: Path, apart: Path) -> None:
    awake(folder, apart, "ada")
    first = apart.read_bytes()
    apart.unlink()
    with pytest.raises(StorageUnreadable, match="--forget-unreadable"):  # who ada was is not known any more
        open_sealed(folder, erasures=apart, new_erasures=True)
    journal = open_sealed(folder, erasures=apart, new_erasures=True, shred_unreadable=True)
    assert [record.data for record in journal.read(ALL)] == [SHREDDED]
    journal.close()
    awake(folder, apart, "bo")
    apart.write_bytes(first)
    refused(folder, apart, OTHER)
    open_sealed(folder, erasures=apart, new_erasures=True, shred_unreadable=True).close()
    awake(folder, apart)


def test_a_data_folder_from_before_this_was_noted_takes_the_one_that_it_has(folder: Path, apart: Path) -> None:
    old = Erasures(apart)
    old.add("person/ada")
    old.close()
    apart.write_bytes(apart.read_bytes().split(b"\n", 1)[1])  # without a name of its own
    awake(folder, apart)
    assert b"journal" not in apart.read_bytes()
    apart.unlink()
    refused(folder, apart, GONE)


def test_who_only_reads_notices_it_as_well(folder: Path, apart: Path) -> None:
    awake(folder, apart, "ada")
    keys = KeyStore(folder / "keys.sqlite")
    assert "person/ada" in Erasures(apart, read_only=True, known=keys.erasures)
    with pytest.raises(StorageUnreadable, match="is gone"):
        Erasures(apart.parent / "nowhere", read_only=True, known=keys.erasures)
    assert not (apart.parent / "nowhere").exists()
