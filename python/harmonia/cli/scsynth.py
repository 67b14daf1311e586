"""SuperCollider's server as a measure: what its bank of sines, Klang, costs when it renders offline.

scsynth renders a score of OSC messages into a file (``-N``). What it is to play is a compiled synth definition, so one
is written here: a Klang of 64 sines into output 0, in the binary format ``SCgf``, version 2. The process's CPU time
holds its start and the writing of the file, too; so two lengths are rendered, and their difference counts.

Sources: SuperCollider's reference pages "Synth Definition File Format", "Klang" and "Non-Realtime Synthesis".
"""

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

SINES = 64
_RATE = 48_000
_LENGTHS_S = (20, 120)


def _string(text: str) -> bytes:
    padded = text.encode() + b"\0"
    return padded + b"\0" * (-len(padded) % 4)


def _pascal(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def definition() -> bytes:
    """The compiled definition ``klang``: SINES sines from 170 Hz on, 17 Hz apart, into output 0."""
    # Klang's inputs: frequency scale, frequency offset, then frequency, amplitude and phase of each.
    numbers = [1.0, 0.0]
    for k in range(SINES):
        numbers += [170.0 + 17.0 * k, 0.01, 0.1 * k]
    constant = struct.Struct(">ii")
    klang = _pascal("Klang") + struct.pack(">biih", 2, len(numbers), 1, 0)
    klang += b"".join(constant.pack(-1, index) for index in range(len(numbers))) + struct.pack(">b", 2)
    # Out's inputs: the bus (0.0, the second constant) and the first unit's first output.
    out = _pascal("Out") + struct.pack(">biih", 2, 2, 0, 0) + constant.pack(-1, 1) + constant.pack(0, 0)
    constants = struct.pack(f">i{len(numbers)}f", len(numbers), *numbers)
    parameters = struct.pack(">ii", 0, 0)
    synth = _pascal("klang") + constants + parameters + struct.pack(">i", 2) + klang + out + struct.pack(">h", 0)
    return b"SCgf" + struct.pack(">ih", 2, 1) + synth


def _message(address: str, types: str, *arguments: bytes) -> bytes:
    return _string(address) + _string("," + types) + b"".join(arguments)


def score(seconds: float) -> bytes:
    """An offline score: load the definition, play it, end after ``seconds``."""
    compiled = definition()
    blob = struct.pack(">i", len(compiled)) + compiled + b"\0" * (-len(compiled) % 4)
    integer = struct.Struct(">i").pack
    load = _message("/d_recv", "b", blob)
    play = _message("/s_new", "siii", _string("klang"), integer(1000), integer(0), integer(0))
    end = _message("/c_set", "ii", integer(0), integer(0))
    packed = b""
    for at, message in ((0.0, load), (0.0, play), (seconds, end)):
        bundle = b"#bundle\0" + struct.pack(">II", int(at), 0) + integer(len(message)) + message
        packed += integer(len(bundle)) + bundle
    return packed


def render(program: str, seconds: float, folder: Path) -> tuple[float, Path]:
    """The CPU time of rendering ``seconds``, in seconds, and the file, 16-bit WAV. Raises OSError where that fails."""
    osc, wav = folder / "score.osc", folder / f"{seconds:.0f}.wav"
    osc.write_bytes(score(seconds))
    command = [program, "-N", str(osc), "_", str(wav), str(_RATE), "WAV", "int16", "-o", "1", "-i", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or b"FAILURE" in said or not wav.exists():
        lines = said.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise OSError(f"scsynth could not render: {lines[-1]}")
    return usage.ru_utime + usage.ru_stime, wav


def klang_sine_samples_per_s() -> tuple[float | None, str | None]:
    """Klang's sine-samples for a second of CPU time; or None, and why."""
    program = shutil.which("scsynth")
    if program is None:
        return None, "scsynth is not installed (Debian: supercollider-server)"
    try:
        with tempfile.TemporaryDirectory(prefix="harmonia-scsynth-") as folder:
            short, long = (render(program, seconds, Path(folder))[0] for seconds in _LENGTHS_S)
    except OSError as error:
        return None, str(error)
    samples = SINES * _RATE * (_LENGTHS_S[1] - _LENGTHS_S[0])
    return samples / max(long - short, 1e-3), None
