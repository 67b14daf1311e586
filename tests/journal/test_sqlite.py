"""What only a disk can do to a journal: sudden death, no room, a newer format."""

import re
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from harmonia.errors import StorageError, StorageUnreadable
from harmonia.journal import ALL, ANY, NO_STREAM, Position, Snapshot, Unavailable
from harmonia.journal.sqlite import SqliteJournal

WRITER = """
import sys, threading
from pathlib import Path
from harmonia.journal import ANY
from harmonia.journal.sqlite import SqliteJournal

journal = SqliteJournal(Path(sys.argv[1]))
said = threading.Lock()

def write(name):
    n = 0
    while True:
        journal.append(name, ANY, b"%d" % n, b"%d" % n)
        with said:
            print(name, n, flush=True)
        n += 1

for name in "abcd":
    threading.Thread(target=write, args=(name,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("acknowledged_before_death", [1, 40, 200])
def test_after_kill_9_every_acknowledged_append_is_there(tmp_path: Path, acknowledged_before_death: int) -> None:
    path = tmp_path / "journal.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(acknowledged_before_death)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().splitlines(keepends=True)
    complete = [line.split() for line in acknowledged if line.endswith("\n")]
    assert len(complete) >= acknowledged_before_death
    journal = SqliteJournal(path)
    for name in "abcd":
        kept = [int(record.data) for record in journal.read(name)]
        promised = [int(n) for stream, n in complete if stream == name]
        assert kept == list(range(len(kept))), "in order and without a gap"
        assert len(kept) >= len(promised)
    journal.close()


def test_it_resumes_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = SqliteJournal(path)
    position = first.append("s", NO_STREAM, b"1", b"one")
    first.save_snapshot("s", Snapshot(position, b"snap"))
    first.close()
    second = SqliteJournal(path)
    assert second.append("s", NO_STREAM, b"1", b"again") == position
    assert second.append("s", position, b"2", b"two") > position
    assert second.load_snapshot("s") == Snapshot(position, b"snap")
    second.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_refuses_says_so_and_loses_nothing(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", bytes_max=128 * 1024)
    written: list[Position] = []

    def write() -> None:
        for n in range(10_000):
            written.append(journal.append("s", ANY, b"%d" % n, b"x" * 4000))

    with pytest.raises(Unavailable, match=re.escape("journal.db is full and nothing was written: free some space")):
        write()
    assert written
    assert [record.position for record in journal.read(ALL)] == written
    journal.close()
    larger = SqliteJournal(tmp_path / "journal.db")
    assert larger.append("s", written[-1], b"more", b"room again") > written[-1]
    larger.close()


def test_a_small_append_in_one_group_with_a_large_one_still_fits(tmp_path: Path) -> None:
    """Threads race to be grouped; in whichever group, a withdrawal's bytes are not refused for a score's."""
    journal = SqliteJournal(tmp_path / "journal.db", bytes_max=256 * 1024)

    def append(n: int) -> bool:
        try:
            journal.append("s", ANY, b"%d" % n, b"x" * (10 if n % 2 else 1_000_000))
        except Unavailable:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        kept = list(pool.map(append, range(256)))
    assert kept == [n % 2 == 1 for n in range(256)]
    journal.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    SqliteJournal(path).close()
    with apsw.Connection(str(path)) as connection:
        connection.execute("UPDATE meta SET value = 3 WHERE key = 'format'")
    with pytest.raises(StorageUnreadable, match=r"has format 3.*start the version that wrote it"):
        SqliteJournal(path)


def test_a_path_that_cannot_be_opened_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise.db").write_bytes(b"not a database" * 100)
    for path in (tmp_path, tmp_path / "missing" / "journal.db", tmp_path / "noise.db"):
        with pytest.raises(StorageError, match="could not be opened") as caught:
            SqliteJournal(path)
        assert "\n" not in str(caught.value)
