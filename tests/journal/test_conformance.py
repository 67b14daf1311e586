"""What every journal does, held by each adapter alike."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harmonia.errors import StorageUnreadable
from harmonia.journal import ALL, ANY, NO_STREAM, Journal, Position, Snapshot, Unavailable, WrongExpectedRevision, pages
from harmonia.journal.memory import MemoryJournal
from harmonia.journal.opening import open_sealed
from harmonia.journal.sqlite import SqliteJournal

SOON_S = 30.0
"""Longer than anything here takes; nothing waits that long unless it is broken."""


@pytest.fixture(params=["memory", "sqlite", "sealed"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    kinds: dict[str, Callable[[], Journal]] = {
        "memory": MemoryJournal,
        "sqlite": lambda: SqliteJournal(tmp_path / "journal.db"),
        "sealed": lambda: open_sealed(tmp_path),
    }
    journal = kinds[request.param]()
    yield journal
    journal.close()


def data_of(
    journal: Journal, stream: str | None, after: Position | None = None, limit: int | None = None
) -> list[bytes]:
    return [record.data for record in journal.read(stream, after, limit)]


def test_what_was_appended_reads_back_in_order(journal: Journal) -> None:
    first = journal.append("person/a", NO_STREAM, b"1", b"one")
    journal.append("person/b", NO_STREAM, b"1", b"other")
    second = journal.append("person/a", first, b"2", b"\x00two\xff")
    assert first < second
    assert data_of(journal, "person/a") == [b"one", b"\x00two\xff"]
    assert data_of(journal, "person/a", after=first) == [b"\x00two\xff"]
    assert data_of(journal, ALL) == [b"one", b"other", b"\x00two\xff"]
    assert data_of(journal, ALL, after=first, limit=1) == [b"other"]
    assert data_of(journal, "person/nobody") == []
    record = journal.read("person/a")[0]
    assert (record.stream, record.position, record.event_id) == ("person/a", first, b"1")


def test_pages_are_what_is_read_by_streams(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonia.journal.page._ROWS", 3)
    assert not list(pages(journal, 10))
    streams = ("person/a", "circle/c d", "person/b", "person/a", "sanctuary", "person/b", "person/a")
    for n, stream in enumerate(streams):
        journal.append(stream, ANY, b"%d" % n, b'{"n": "%d \xc3\xa9"}' % n)
    for limit in range(1, 9):
        after = None
        for page in pages(journal, limit):
            records = [one for one in journal.read(ALL, after, limit) if one.position <= page.end]
            assert page.end == records[-1].position
            by_stream = {stream: [one for one in records if one.stream == stream] for stream in streams}
            assert {
                strand.stream: list(zip(strand.revisions, strand.lines.split(b"\n"), strict=True))
                for strand in page.strands
            } == {
                stream: [(one.position.revision, one.data) for one in some]
                for stream, some in by_stream.items()
                if some
            }
            after = page.end
        assert after == journal.read(ALL)[-1].position


def test_pages_refuse_what_no_event_ever_was(journal: Journal) -> None:
    journal.append("person/a", ANY, b"1", b"one")
    journal.append("person/a", ANY, b"2", b"two\nlines")
    with pytest.raises(StorageUnreadable, match=r"damaged event in person/a, from 1\.1 to 1\.2: restore a backup"):
        list(pages(journal, 10))
    assert next(pages(journal, 1)).end == Position(1, 1)


def test_a_wrong_expectation_writes_nothing(journal: Journal) -> None:
    first = journal.append("s", ANY, b"1", b"one")
    second = journal.append("s", ANY, b"2", b"two")
    for expected in (NO_STREAM, first, Position(second.epoch, second.revision + 1), Position(second.epoch + 1, 2)):
        with pytest.raises(WrongExpectedRevision, match="read it and decide anew"):
            journal.append("s", expected, b"3", b"three")
    with pytest.raises(WrongExpectedRevision):
        journal.append("empty", first, b"3", b"three")
    assert data_of(journal, ALL) == [b"one", b"two"]


def test_an_append_is_idempotent_within_its_stream(journal: Journal) -> None:
    first = journal.append("s", NO_STREAM, b"id", b"one")
    journal.append("s", first, b"id-2", b"two")
    assert journal.append("s", NO_STREAM, b"id", b"again") == first
    assert journal.append("s", ANY, b"id", b"again") == first
    assert data_of(journal, "s") == [b"one", b"two"]
    journal.append("t", NO_STREAM, b"id", b"somebody else's")
    assert data_of(journal, "t") == [b"somebody else's"]


def test_of_many_that_expect_the_same_position_one_wins(journal: Journal) -> None:
    start = journal.append("s", NO_STREAM, b"start", b"start")

    def attempt(n: int) -> bool:
        try:
            journal.append("s", start, b"%d" % n, b"%d" % n)
        except WrongExpectedRevision:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1
    assert len(data_of(journal, "s")) == 2


def test_appends_from_many_threads_are_all_kept_in_one_order(journal: Journal) -> None:
    def write(n: int) -> list[Position]:
        return [journal.append(f"s/{n}", ANY, b"%d" % i, b"%d" % i) for i in range(50)]

    with ThreadPoolExecutor(8) as pool:
        positions = list(pool.map(write, range(8)))
    assert all(own == sorted(own) for own in positions)
    everything = journal.read(ALL)
    assert [record.position for record in everything] == sorted({p for own in positions for p in own})
    assert data_of(journal, "s/3") == [b"%d" % i for i in range(50)]


def test_a_snapshot_replaces_the_one_before(journal: Journal) -> None:
    assert journal.load_snapshot("s") is None
    position = journal.append("s", ANY, b"1", b"one")
    for data in (b"old", b"new"):
        journal.save_snapshot("s", Snapshot(position, data))
    assert journal.load_snapshot("s") == Snapshot(position, b"new")
    assert data_of(journal, "s") == [b"one"]


@pytest.mark.parametrize("stream", [ALL, "s"])
def test_a_subscription_catches_up_then_lives_and_misses_nothing(journal: Journal, stream: str | None) -> None:
    after = journal.append("s", ANY, b"0", b"before")
    journal.append("s", ANY, b"1", b"1")
    subscription = journal.subscribe(stream, after)
    begun = threading.Event()

    def write() -> None:
        begun.wait(SOON_S)
        for n in range(2, 600):
            journal.append("s", ANY, b"%d" % n, b"%d" % n)

    writer = threading.Thread(target=write)
    writer.start()
    begun.set()
    heard = [subscription.next(SOON_S) for _ in range(1, 600)]
    writer.join()
    assert [record.data for record in heard if record] == [b"%d" % n for n in range(1, 600)]
    assert subscription.next(0) is None
    subscription.close()
    assert subscription.next(SOON_S) is None


def test_closing_a_subscription_lets_its_reader_go(journal: Journal) -> None:
    subscription = journal.subscribe(ALL)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(subscription.next, SOON_S)
        subscription.close()
        assert waiting.result(SOON_S) is None


def test_a_topic_reaches_those_who_listen_now_and_drops_the_oldest_for_the_slow(journal: Journal) -> None:
    journal.publish("field", b"nobody listens")
    near, slow = journal.listen("field"), journal.listen("field")
    other = journal.listen("other")
    journal.publish("field", b"0")
    assert near.next(SOON_S) == b"0"
    for n in range(1, 5000):
        journal.publish("field", b"%d" % n)
    assert slow.next(SOON_S) != b"0"
    assert other.next(0) is None
    near.close()
    journal.publish("field", b"late")
    assert near.next(0) is None
    assert data_of(journal, ALL) == []


def test_after_close_every_call_says_so(journal: Journal) -> None:
    position = journal.append("s", ANY, b"1", b"one")
    journal.close()
    journal.close()
    for call in (
        lambda: journal.append("s", ANY, b"2", b"two"),
        lambda: journal.read(ALL),
        lambda: journal.save_snapshot("s", Snapshot(position, b"")),
        lambda: journal.load_snapshot("s"),
    ):
        with pytest.raises(Unavailable, match="closed"):
            call()
