"""The music of scores, over the wire and on the disk: in parts, after interruptions, only what the hash says."""

import hashlib
import os
from pathlib import Path
from typing import Any

import grpc
import pytest

from harmonia.engine.scores import ReadScore
from harmonia.errors import BadInput, NotFound, StorageError
from harmonia.rpc.stems import PART_BYTES_MAX, StemStore
from harmonia.testing import fake_scores
from harmonia.v1 import circle_pb2, stem_pb2, stem_pb2_grpc, types_pb2
from tests.rpc.daemon import PATIENCE_S, Running, daemon, reason_of

MUSIC = os.urandom(2 * PART_BYTES_MAX + 1234)
HASH = hashlib.sha256(MUSIC).digest()
PLAYED = """
tone-sets.a = [{ wave = "stem", stem = "river", amplitude_pct = 50 }]
timeline = [{ at = 0, play = "a" }]
"""


def stem(fields: str) -> str:
    """What a score says of its music."""
    return f"stems.river = {{ {fields} }}\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def any_text(name: str, format: str, _text: str) -> ReadScore:
        return fake_scores(name, format, "4")

    with daemon(tmp_path_factory.mktemp("house"), scores=any_text) as running:
        yield running


def store(path: Path) -> StemStore:
    return StemStore(path / "stems")


def send(to: StemStore, data: bytes = MUSIC, file: str = "river.flac", parts: int = 99) -> tuple[int, bool]:
    """Sends as a client does: asks from where to go on, then part after part."""
    sha256 = hashlib.sha256(data).digest()
    received, complete = to.write(sha256, file, len(data), 0, b"")
    for _ in range(parts):
        if complete:
            break
        part = data[received : received + PART_BYTES_MAX]
        received, complete = to.write(sha256, file, len(data), received, part)
    return received, complete


def fetch(source: StemStore, sha256: bytes) -> bytes:
    data = b""
    while part := source.read(sha256, len(data), 0):
        data += part
    return data


def test_what_was_put_in_comes_out_by_name_and_by_hash(tmp_path: Path) -> None:
    assert send(store(tmp_path)) == (len(MUSIC), True)
    again = store(tmp_path)  # another life of the sanctuary
    assert again.find(b"", "river.flac") == again.find(HASH, "") == (HASH, len(MUSIC))
    assert fetch(again, HASH) == MUSIC
    # The newest of a name is the one that is meant; the other is still there.
    send(again, b"another river")
    assert again.find(b"", "river.flac")[0] == hashlib.sha256(b"another river").digest()
    assert fetch(again, HASH) == MUSIC


def test_after_an_interruption_only_the_rest_is_taken(tmp_path: Path) -> None:
    assert send(store(tmp_path), parts=1) == (PART_BYTES_MAX, False)
    with pytest.raises(NotFound, match="harmonia stem add"):
        store(tmp_path).find(HASH, "")
    # A part at the wrong place is not taken, and what comes twice is not there twice.
    resumed = store(tmp_path)
    assert resumed.write(HASH, "river.flac", len(MUSIC), 7, b"elsewhere") == (PART_BYTES_MAX, False)
    assert resumed.write(HASH, "river.flac", len(MUSIC), 0, MUSIC[:100]) == (PART_BYTES_MAX, False)
    assert send(resumed) == (len(MUSIC), True)
    assert fetch(resumed, HASH) == MUSIC


def test_what_is_not_what_it_says_is_thrown_away(tmp_path: Path) -> None:
    house = store(tmp_path)
    with pytest.raises(BadInput, match="another hash"):
        house.write(HASH, "river.flac", 5, 0, b"wrong")
    with pytest.raises(NotFound):
        house.find(HASH, "")
    assert house.write(HASH, "river.flac", len(MUSIC), 0, b"") == (0, False)
    for sha256, file, size, data, words in (
        (b"short", "a", 1, b"", "SHA-256"),
        (HASH, "../a", 1, b"", "without folders"),
        (HASH, "", 1, b"", "without folders"),
        (HASH, "a", 0, b"", "1 to"),
        (HASH, "a", 1 << 40, b"", "1 to"),
        (HASH, "a", 1 << 22, b"x" * (PART_BYTES_MAX + 1), "at most"),
    ):
        with pytest.raises(BadInput, match=words):
            house.write(sha256, file, size, 0, data)
    with pytest.raises(BadInput, match="0 or more"):
        send(house) and house.read(HASH, -1, 0)
    assert house.read(HASH, len(MUSIC) + 5, 0) == b""


def test_a_sleeper_fetches_what_their_score_names_and_nothing_else(running: Running) -> None:
    stems: Any = stem_pb2_grpc.StemServiceStub(running.channel)

    def write(offset: int, data: bytes) -> Any:
        request = stem_pb2.WriteStemRequest(sha256=HASH, file="river.flac", size=len(MUSIC), offset=offset, data=data)
        return stems.WriteStem(request, metadata=running.admin, timeout=PATIENCE_S)

    while not (answer := write(0, b"")).complete:
        write(answer.received, MUSIC[answer.received : answer.received + PART_BYTES_MAX])

    def guest(text: str) -> Any:
        score = types_pb2.Score(name="n.toml", format=types_pb2.SCORE_FORMAT_TOML, text=text + PLAYED)
        request = circle_pb2.CreateCircleRequest(title="Night", score=score)
        circle = running.circles.CreateCircle(request, metadata=running.admin, timeout=PATIENCE_S).circle
        return running.join(circle.circle_id)

    def find(who: Any, **wanted: Any) -> Any:
        signed = who.signed("StemService/FindStem")
        return stems.FindStem(stem_pb2.FindStemRequest(**wanted), metadata=signed, timeout=PATIENCE_S)

    def read(who: Any, offset: int) -> bytes:
        signed = who.signed("StemService/ReadStem")
        request = stem_pb2.ReadStemRequest(sha256=HASH, offset=offset)
        data: bytes = stems.ReadStem(request, metadata=signed, timeout=PATIENCE_S).data
        return data

    by_name, by_hash = guest(stem('file = "music/river.flac"')), guest(stem(f'sha256 = "{HASH.hex().upper()}"'))
    assert find(by_name, file="river.flac").sha256 == find(by_hash, sha256=HASH).sha256 == HASH
    for who in (by_name, by_hash):
        assert read(who, 0) == MUSIC[:PART_BYTES_MAX]
        assert read(who, 2 * PART_BYTES_MAX) == MUSIC[2 * PART_BYTES_MAX :]
    for text in (
        f"# river.flac {HASH.hex()}\n" + stem('file = "other.flac"'),
        stem('file = "a river.flac"'),
        stem('file = "river.flac.wav"'),
        stem(f'file = "river.flac", sha256 = "{"0" * 64}"'),
    ):
        stranger = guest(text)
        for call in (
            lambda stranger=stranger: find(stranger, file="river.flac"),
            lambda stranger=stranger: find(stranger, sha256=HASH),
            lambda stranger=stranger: read(stranger, 0),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            refused: Any = caught.value
            assert (refused.code(), reason_of(refused)) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")


@pytest.mark.parametrize(
    "damaged", ["[]", '{"river.flac": "no hash"}', '{"river.flac": 3}', '{"a": "ab"}', "{", "\xff"]
)
def test_damaged_names_are_said_and_never_replaced(damaged: str, tmp_path: Path) -> None:
    house = store(tmp_path)
    send(house, b"a river")
    names = tmp_path / "stems" / "names.json"
    names.write_bytes(damaged.encode("latin-1"))
    for call in (
        lambda: house.find(b"", "river.flac"),
        lambda: house.names_of(HASH),
        lambda: send(house, b"a river"),
        lambda: send(house, b"another"),
    ):
        with pytest.raises(StorageError, match=r"names\.json is damaged"):
            call()
    assert names.read_bytes() == damaged.encode("latin-1")


def test_an_offset_beyond_any_stem_is_refused_in_words(tmp_path: Path) -> None:
    house = store(tmp_path)
    send(house)
    for offset in (1 << 62, (1 << 63) - 1, (1 << 31) + 1):
        with pytest.raises(BadInput, match="an offset is"):
            house.read(HASH, offset, 0)
