"""Keys and certificates of a root, of one between, and of who signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.now(UTC)
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def chain(folder: Path) -> None:
    """Write root.pem, which vouches for middle.pem, which vouches for the others.

    The private key of each is beside it, as leaf-private.pem; `useless` may not sign, `early` and
    `late` not today.
    """
    root, own = certified("root", folder, may="issue")
    middle, of_middle = certified("middle", folder, root, own, may="issue")
    certified("leaf", folder, middle, of_middle, may="sign")
    certified("useless", folder, middle, of_middle, may="agree")
    certified("early", folder, middle, of_middle, may="sign", days=(1, 9))
    certified("late", folder, middle, of_middle, may="sign", days=(-9, -1))


def certified(
    name: str,
    folder: Path,
    issuer: x509.Certificate | None = None,
    by: ec.EllipticCurvePrivateKey | None = None,
    *,
    may: str,
    days: tuple[int, int] = (-1, 9),
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=may == "sign",
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=may == "agree",
        key_cert_sign=may == "issue",
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=may == "issue", path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(by or key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    (folder / f"{name}.pem").write_bytes(made.public_bytes(PEM))
    (folder / f"{name}-private.pem").write_bytes(key.private_bytes(PEM, PKCS8, plain))
    return made, key
