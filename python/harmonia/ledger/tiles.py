"""The tree cut into tiles, as files that a plain web server can give out.

A ledger that is asked for proofs has to be a service. Cut into tiles of 256 hashes, eight levels of the tree at a time,
it is a folder: whoever verifies fetches the few tiles that they need and makes every proof themself. A full tile never
changes again; the last of each level is partial, and its width is part of its name. Beside the tiles lie the entries
themselves, in bundles of the same 256.

Tiles are named (level, index). Everything here is given a way to read tiles and knows no folder.

Source: https://c2sp.org/tlog-tiles, "Merkle Tree", "Partial Tiles" and "Log entries".
"""

from collections.abc import Callable, Iterator, Sequence

from harmonia.errors import StorageUnreadable
from harmonia.ledger.tree import HASH_BYTES, Read, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
"""Hashes of a full tile, entries of a full bundle."""
ENTRY_BYTES_MAX = 0xFFFF

ReadTile = Callable[[int, int], bytes]
"""(level, index) → as many hashes as there are of that tile."""


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile ``index`` of ``level`` has in a tree of ``size`` leaves; 0: there is no such tile."""
    return min(max((size >> HEIGHT * level) - index * WIDTH, 0), WIDTH)


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Every tile of a tree of ``size`` leaves: level, index, width."""
    level = 0
    while count := size >> HEIGHT * level:
        for index in range(-(-count // WIDTH)):
            yield level, index, tile_width(level, index, size)
        level += 1


def bundles_of(size: int) -> Iterator[tuple[int, int]]:
    """Every bundle of entries: index, width."""
    for index in range(-(-size // WIDTH)):
        yield index, tile_width(0, index, size)


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Where the tile is: ``tile/L/N``, and ``.p/W`` behind it while it is partial."""
    return f"tile/{level}/{_index_path(index, width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """Where that bundle of entries is."""
    return f"tile/entries/{_index_path(index, width)}"


def _index_path(index: int, width: int) -> str:
    """1234067 → x001/x234/067."""
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle, each behind its length in two bytes."""
    assert all(len(entry) <= ENTRY_BYTES_MAX for entry in entries), "an entry is a short line"
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def entries_of(data: bytes, width: int, name: str) -> list[bytes]:
    """The ``width`` entries of a bundle. Raises StorageUnreadable, naming ``name``, if it has not just these."""
    entries, at = [], 0
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(data) or len(entries) != width:
        raise StorageUnreadable(f"{name} is cut or damaged: it should hold {width} whole entries; fetch it again")
    return entries


def cut_bundle(data: bytes, width: int) -> bytes:
    """The first ``width`` entries of a bundle that has grown since."""
    at = 0
    for _ in range(width):
        at += 2 + int.from_bytes(data[at : at + 2], "big")
    return data[:at]


def hashes_of(data: bytes, width: int, name: str) -> list[bytes]:
    """The ``width`` hashes of a tile. Raises StorageUnreadable, naming ``name``, if it has not just these."""
    if len(data) != width * HASH_BYTES:
        raise StorageUnreadable(
            f"{name} is cut or damaged: it has {len(data)} bytes and should have {width * HASH_BYTES}; fetch it again"
        )
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def reading(read_tile: ReadTile) -> Read:
    """The tree's hashes out of tiles: a subtree within a tile is hashed together from the tile's own hashes."""

    def read(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        tile, first = divmod(index << height, WIDTH)
        data = read_tile(tile_level, tile)
        hashes = [data[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(first, first + (1 << height))]
        if not all(len(hash) == HASH_BYTES for hash in hashes):
            raise StorageUnreadable(
                f"{tile_path(tile_level, tile)} is cut: it should hold {first + (1 << height)} hashes or more"
            )
        return subtree_root(hashes)

    return read


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 1, 2, 4, … hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def grown(read_tile: ReadTile, size: int, leaves: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """The tiles that change where ``leaves`` (their hashes) are appended to a tree of ``size``: each as it then is."""
    changed: dict[tuple[int, int], bytes] = {}
    level, at, new = 0, size, list(leaves)
    while new:
        above, above_at = [], at >> HEIGHT
        while new:
            index, filled = divmod(at, WIDTH)
            part = new[: WIDTH - filled]
            new = new[len(part) :]
            tile = (read_tile(level, index)[: filled * HASH_BYTES] if filled else b"") + b"".join(part)
            changed[level, index] = tile
            at += len(part)
            if at % WIDTH == 0:
                above.append(subtree_root([tile[k : k + HASH_BYTES] for k in range(0, len(tile), HASH_BYTES)]))
        level, at, new = level + 1, above_at, above
    return changed
