"""An invitation: everything that a stranger needs to join a circle, in one line of text.

``harmonia://HOST:PORT/CIRCLE?token=TOKEN&ca=CA``

The CA is the sanctuary's own certificate, whole (DER, base64url, some 500 characters), not its fingerprint: for that
the certificate would have to be fetched before the first call, over a connection that is not trusted yet. With it in
hand the first connection is already verified, and no other CA of the machine is ever consulted. Who
can read an invitation can join once in its owner's place; send it as you would send a key.
"""

import base64
import ssl
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

from cryptography import x509

from harmonia.errors import BadInput

FORM = "harmonia://HOST:PORT/CIRCLE?token=TOKEN&ca=CERTIFICATE"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a sanctuary listens for gRPC, and the one CA that it is known by."""

    host: str
    port: int
    ca_pem: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """A circle at an endpoint, with a token that lets one sleeper in. The token is not shown by ``repr``."""

    endpoint: Endpoint
    circle_id: str
    token: str

    def __repr__(self) -> str:
        return f"Invitation({self.endpoint.host}:{self.endpoint.port}/{self.circle_id})"

    def __str__(self) -> str:
        """The text form, secret token included."""
        der = ssl.PEM_cert_to_DER_cert(self.endpoint.ca_pem)
        ca = base64.urlsafe_b64encode(der).decode().rstrip("=")
        host = f"[{self.endpoint.host}]" if ":" in self.endpoint.host else self.endpoint.host
        token = quote(self.token, safe="")
        return f"harmonia://{host}:{self.endpoint.port}/{quote(self.circle_id, safe='')}?token={token}&ca={ca}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the text form. Raises BadInput that names the part that is missing or broken."""
        try:
            url = urlsplit(text.strip())
            host, port = url.hostname, url.port
        except ValueError as error:
            raise BadInput(f"not an invitation ({error}); it has the form {FORM}") from None
        if url.scheme != "harmonia":
            raise BadInput(f"not an invitation; it has the form {FORM}")
        query = parse_qs(url.query)
        circle_id, token, ca = url.path.strip("/"), query.get("token", [""])[0], query.get("ca", [""])[0]
        for name, value in (("host", host), ("port", port), ("circle", circle_id), ("token", token), ("ca", ca)):
            if not value:
                raise BadInput(f"the invitation has no {name}; it has the form {FORM}")
        try:
            der = base64.b64decode(ca + "=" * (-len(ca) % 4), altchars=b"-_", validate=True)
            x509.load_der_x509_certificate(der)
        except ValueError:  # of which binascii.Error is one
            raise BadInput("the invitation's certificate is damaged; copy the whole line again") from None
        return cls(Endpoint(str(host), int(port or 0), ssl.DER_cert_to_PEM_cert(der)), circle_id, token)
