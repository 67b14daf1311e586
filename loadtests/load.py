"""Starts a real sanctuary in a folder of its own, lets simulated sleepers loose on it, and judges: `run.py load`."""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import psutil

from loadtests.stranger import Host, Sanctuary

ROOT = Path(__file__).resolve().parent.parent
SCORE = "# Two beats, for ever.\ntheta: 200+5/20 100+5/20\nNOW theta\n"
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 20.0
SLACK_S = 120.0
"""What joining, settling and hanging up may take besides the time at full load; beyond it, the run hangs."""


class LoadError(Exception):
    """The run could not be held; the message says why."""


def wait_for(data: Path, process: subprocess.Popen[bytes]) -> Sanctuary:
    """Waits until the sanctuary has written where it listens, and answers there."""
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise LoadError(f"the sanctuary ended with {process.returncode} before it listened")
        if (data / "sanctuary.json").is_file() and (data / "admin.token").is_file():
            sanctuary = Sanctuary.read(data)
            channel = sanctuary.channel()
            try:
                grpc.channel_ready_future(channel).result(timeout=max(0.1, end - time.monotonic()))
            except grpc.FutureTimeoutError:
                break
            finally:
                channel.close()
            return sanctuary
        time.sleep(0.05)
    raise LoadError(f"the sanctuary did not listen within {STARTS_WITHIN_S:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Asks the sanctuary to end; one that does not has failed the run."""
    if process.poll() is not None:
        raise LoadError(f"the sanctuary ended by itself, with {process.returncode}")
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise LoadError(f"the sanctuary did not end within {STOPS_WITHIN_S:.0f} s of SIGTERM") from None


def hold(sleepers: int, seconds: int, seed: int, data: Path, log: Path) -> int:
    """One run. Returns locust's exit code. Raises LoadError."""
    # A sleeper holds a socket for gRPC and one for datagrams, on either side.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * sleepers + 1000
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise LoadError(f"{sleepers} sleepers need {wanted} open files; `ulimit -Hn` allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    serve = [sys.executable, "-m", "harmonia.cli", "serve", "--data", str(data), "--port", "0", "--udp-port", "0"]
    with log.open("wb") as sink:
        server = subprocess.Popen(serve, stdout=sink, stderr=subprocess.STDOUT)
    try:
        sanctuary = wait_for(data, server)
        host = Host(sanctuary)
        circle_id = host.open_circle(SCORE, capacity=4 * sleepers)
        host.close()
        environment = {
            "HARMONIA_LOAD_DATA": str(data),
            "HARMONIA_LOAD_CIRCLE": circle_id,
            "HARMONIA_LOAD_SLEEPERS": str(sleepers),
            "HARMONIA_LOAD_SECONDS": str(seconds),
            "HARMONIA_LOAD_SEED": str(seed),
            "PYTHONPATH": str(ROOT),
        }
        rate = max(10, sleepers // 20)
        locust = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests/locustfile.py"), "--headless"]
        locust += ["--users", str(sleepers), "--spawn-rate", str(rate), "--only-summary", "--stop-timeout", "30"]
        busy = psutil.Process(server.pid)
        before, began = sum(busy.cpu_times()[:2]), time.monotonic()
        patience_s = sleepers / rate + seconds + SLACK_S
        try:
            code = subprocess.run(locust, env={**os.environ, **environment}, timeout=patience_s, check=False).returncode
        except subprocess.TimeoutExpired:
            raise LoadError(f"the run was not over after {patience_s:.0f} s") from None
        if server.poll() is None:
            share = (sum(busy.cpu_times()[:2]) - before) / (time.monotonic() - began)
            print(f"sanctuary: {share:.0%} of a core, {busy.memory_info().rss / 1e6:.0f} MB")
    except grpc.RpcError as error:
        raise LoadError(f"the circle could not be opened: {error}") from error
    finally:
        failure = sys.exc_info()[0]
        try:
            stop(server)
        except LoadError:
            if failure is None:
                raise
    return code


def main() -> int:
    """Exit code 0 if every limit held, 1 if not or if the load was never reached."""
    parser = argparse.ArgumentParser(prog="run.py load", description="Simulated sleepers against a real sanctuary.")
    parser.add_argument("--sleepers", type=int, default=200, help="how many (200)")
    parser.add_argument("--seconds", type=int, default=60, help="how long at full load (60)")
    parser.add_argument("--seed", type=int, default=1, help="of what they do (1)")
    options = parser.parse_args()
    if not 1 <= options.sleepers <= 20_000 or options.seconds < 1:
        parser.error("--sleepers is 1 to 20000, --seconds at least 1")
    with tempfile.TemporaryDirectory(prefix="harmonia-load-") as folder:
        log = Path(folder) / "sanctuary.log"
        try:
            code = hold(options.sleepers, options.seconds, options.seed, Path(folder) / "data", log)
            reason = ""
        except LoadError as error:
            code, reason = 1, str(error)
        if code and log.is_file():
            lines = log.read_text(errors="replace").splitlines()
            print("the sanctuary's last words:", *lines[-40:], sep="\n  ")
        if reason:
            print(f"load: FAILED, {reason}")
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
