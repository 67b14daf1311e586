"""An invitation carries everything, says what it lacks, and shows its secret to nobody by accident."""

import pytest

from harmonia.client import Endpoint, Invitation
from harmonia.errors import BadInput
from tests.client.house import Authority

CA = Authority().ca_pem


@pytest.mark.parametrize("host", ["127.0.0.1", "sanctuary.example", "::1"])
@pytest.mark.parametrize("token", ["plain", "with/&?=+ signs", "ünïcode"])
def test_what_was_written_is_read(host: str, token: str) -> None:
    invitation = Invitation(Endpoint(host, 7117, CA), "c-abc", token)
    assert Invitation.parse(str(invitation)) == invitation
    assert "\n" not in str(invitation)


def test_its_token_is_not_in_its_repr() -> None:
    assert "sesame" not in repr(Invitation(Endpoint("h", 1, CA), "c", "sesame"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://h:1/c?token=t&ca=MA", "form harmonia://"),
        ("harmonia://h/c?token=t&ca=MA", "no port"),
        ("harmonia://h:99999/c?token=t&ca=MA", "not an invitation"),
        ("harmonia://h:1/?token=t&ca=MA", "no circle"),
        ("harmonia://h:1/c?ca=MA", "no token"),
        ("harmonia://h:1/c?token=t", "no ca"),
        ("harmonia://h:1/c?token=t&ca=!!!", "damaged"),
        ("harmonia://h:1/c?token=t&ca=QUJD", "damaged"),
        ("harmonia://h:1/c?token=t&ca=MIIB", "damaged"),
        ("", "not an invitation"),
    ],
)
def test_a_broken_one_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Invitation.parse(text)
