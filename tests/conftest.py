"""What every test shares: property tests draw the same cases in every checked run, and others by hand."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("seeded", derandomize=True, deadline=None)
settings.register_profile("drawn", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "drawn"))

GOPATH = Path("/usr/share/gocode")


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which Go builds without a network, and its standard library once in a run."""
    if shutil.which("go") is None:
        pytest.skip("Go is not here: install golang-go")
    if not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go's packages are not here: install golang-golang-x-mod-dev")
    cache = tmp_path_factory.mktemp("go-cache")
    return {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(cache)}
