"""What the door remembers of calls: a nonce is good once, and nothing is left of whoever is forgotten."""

import gc
import weakref

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harmonia.engine.entrance import Joined
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import NotAuthenticated
from harmonia.rpc.auth import PACKAGE, Gatekeeper
from tests.engine.nights import House, in_virtual_time, settle

METHOD = PACKAGE + "MeService/GetMe"
NONCE = "0" * 16


async def known(house: House, sanctuary: Sanctuary, gatekeeper: Gatekeeper) -> "weakref.ref[Person]":
    """Somebody who came in, called once, had their call copied, and is forgotten."""
    key = Ed25519PrivateKey.generate()
    conductor = await house.circle(sanctuary)
    (token,) = await conductor.entrance.create_tokens(1, 0)
    joined = await conductor.entrance.join(token, key.public_key().public_bytes_raw())
    assert isinstance(joined, Joined)
    proof = key.sign(b"harmonia call\0" + f"{METHOD}\0{NONCE}\0{joined.credential}".encode()).hex()
    call = {"harmonia-credential": joined.credential, "harmonia-nonce": NONCE, "harmonia-proof": proof}
    gatekeeper.admit(METHOD, call)
    with pytest.raises(NotAuthenticated, match="has been used"):
        gatekeeper.admit(METHOD, call)
    assert len(gatekeeper._nonces) == 1
    await sanctuary.forget(joined.person, lambda _stream: None)
    gatekeeper.admit(PACKAGE + "SanctuaryService/GetStatus", {})
    return weakref.ref(joined.person)


def test_a_nonce_is_good_once_and_none_is_kept_of_who_is_forgotten() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            gatekeeper = Gatekeeper("admin", sanctuary.roll)
            held = await known(house, sanctuary, gatekeeper)
            await settle()
            gc.collect()
            assert held() is None
            assert len(gatekeeper._nonces) == 0

    in_virtual_time(scenario)
