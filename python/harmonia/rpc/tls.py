"""TLS from the first day: a local CA of the sanctuary's own, and a server certificate that it signs.

A client is given ca.pem once (from the data folder, or in an invitation) and trusts nothing else. The server's
certificate is made anew when it misses the bound host or nears its end; the CA stays, so nobody has to be told.
"""

import ipaddress
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harmonia import failpoints
from harmonia.errors import StorageUnreadable
from harmonia.rpc.files import write_private, write_whole

CA_YEARS = 20
SERVER_DAYS = 365
RENEW_DAYS = 60
_BACKDATE = timedelta(days=1)
"""A client's calendar may be a little slow."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def ensure(folder: Path, host: str, now: datetime | None = None) -> tuple[bytes, bytes]:
    """The server's key and certificate (PEM) for ``host`` and the local names, made where they are missing.

    Leaves ca.pem, ca.key, server.pem and server.key in ``folder``; keys are readable by their owner only.
    """
    now = now or datetime.now(UTC)
    names = list(dict.fromkeys((*LOCAL_NAMES, host)))
    key_file, certificate_file = folder / "server.key", folder / "server.pem"
    ca_key, ca = _ensure_ca(folder, now)
    with suppress(OSError, ValueError):
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        pair = key_file.read_bytes(), certificate_file.read_bytes()
        if _serves(certificate, ca, names, now) and belong_together(*pair):
            return pair
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _named(f"Harmonia sanctuary at {host}"[:64], ca.subject, key.public_key(), now, timedelta(days=SERVER_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    certificate = builder.sign(ca_key, hashes.SHA256())
    write_private(key_file, _key_pem(key))
    failpoints.hit("tls.server-key")
    write_whole(certificate_file, _pem(certificate))
    failpoints.hit("tls.server")
    return _key_pem(key), _pem(certificate)


def belong_together(key: bytes, chain: bytes) -> bool:
    """Whether ``key`` is the private key of the first certificate of ``chain``, both PEM and without a password.

    gRPC would only say that it cannot listen.
    """
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        return serialization.load_pem_private_key(key, None).public_key() == certificate.public_key()
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        return False


def _ensure_ca(folder: Path, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key_file, certificate_file = folder / "ca.key", folder / "ca.pem"
    if key_file.exists() and certificate_file.exists():
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key, x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except ValueError:
            pass
        raise StorageUnreadable(
            f"{key_file} or {certificate_file} is damaged: restore them, or delete both and give everybody the new CA"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Harmonia sanctuary CA")])
    usage = x509.KeyUsage(
        **dict.fromkeys(("key_cert_sign", "crl_sign"), True),
        **dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False),
        **dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False),
    )
    builder = (
        _named("Harmonia sanctuary CA", name, key.public_key(), now, timedelta(days=365 * CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    write_private(key_file, _key_pem(key))
    failpoints.hit("tls.ca-key")
    write_whole(certificate_file, _pem(certificate))
    failpoints.hit("tls.ca")
    return key, certificate


def _named(
    common_name: str, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, length: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + length)
    )


def _serves(certificate: x509.Certificate, ca: x509.Certificate, names: list[str], now: datetime) -> bool:
    """Whether ``certificate`` is ours, names every host and has a while to go."""
    try:
        certificate.verify_directly_issued_by(ca)
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - cryptography raises many kinds; each means no
        return False
    has_all = all(_general_name(name) in list(held) for name in names)
    return has_all and certificate.not_valid_after_utc > now + timedelta(days=RENEW_DAYS)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
