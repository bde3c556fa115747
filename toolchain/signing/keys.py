"""Keys and certificates in PEM: looked at before the library is given their paths.

model-signing signs with elliptic curves alone (P-256, P-384, P-521), and with no password.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_defs.errors import BadKey
from model_defs.files import check_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

CURVES = ("secp256r1", "secp384r1", "secp521r1")
MOST_BYTES = 1 << 20
MAKE_ONE = "make one: openssl ecparam -name prime256v1 -genkey -noout -out private.pem"

PASS_PEM = "pass certificates in PEM, one after the other"


@dataclass(frozen=True)
class SigningKey:
    """A private key and, where a certificate vouches for it, that and those above it."""

    private: Path
    certificate: Path | None = None
    chain: tuple[Path, ...] = ()

    def check(self) -> None:
        """Raises BadKey for what cannot sign."""
        key = _private_key(self.private)
        if self.certificate is None:
            if self.chain:
                raise BadKey("a chain without a certificate", do="pass --certificate, too")
            return
        certificate = certificates(self.certificate)[0]
        if certificate.public_key() != key.public_key():
            what = "the certificate is not one of the private key"
            raise BadKey(what, where=str(self.certificate))
        with _reading("certificate", self.certificate, PASS_PEM):
            signs = can_sign(certificate)
        if not signs:
            what = "the certificate is not one to sign with: its key usage lacks digitalSignature"
            raise BadKey(what, where=str(self.certificate))
        until, since = certificate.not_valid_after_utc, certificate.not_valid_before_utc
        if not since <= datetime.now(UTC) <= until:
            what = f"the certificate is valid from {since:%Y-%m-%d} to {until:%Y-%m-%d}, not today"
            do = "have it renewed: verify, without a clock that it can trust, does not see that"
            raise BadKey(what, where=str(self.certificate), do=do)
        for path in self.chain:
            certificates(path)


@dataclass(frozen=True)
class TrustedKey:
    """What a signature is checked against: a public key, or root certificates."""

    public: Path | None = None
    roots: tuple[Path, ...] = ()

    def check(self) -> None:
        """Raises BadKey for what is neither."""
        if (self.public is None) == (not self.roots):
            raise BadKey("one of --key and --certificate is needed", do="pass one of them")
        if self.public is not None:
            _public_key(self.public)
        for path in self.roots:
            certificates(path)


def content(path: Path) -> bytes:
    """The bytes of a small regular file. Raises BadKey."""
    size = check_file(path, "key file", BadKey, BadKey.remedy).st_size
    if size > MOST_BYTES:
        raise BadKey(f"no key has {size} bytes", where=str(path))
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadKey(f"the key cannot be read: {error.strerror}", where=str(path)) from error


@contextlib.contextmanager
def _reading(what: str, path: Path, do: str) -> Iterator[None]:
    """Turns what cryptography raises of a file's content into BadKey."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        yield
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey(f"this is no {what} in PEM", where=str(path), do=do) from error
    except TypeError as error:  # so cryptography says that there is no password
        why = "the private key is encrypted, and the library takes no password"
        do = "write it without one for the time of signing: openssl pkey -in KEY -out private.pem"
        raise BadKey(why, where=str(path), do=do) from error


def _private_key(path: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    with _reading("private key", path, MAKE_ONE):
        key = load_pem_private_key(content(path), None)
    _check_curve(key.public_key(), path)
    return key


def _public_key(path: Path) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    do = "write that of a private key: openssl pkey -in private.pem -pubout -out public.pem"
    with _reading("public key", path, do):
        return _check_curve(load_pem_public_key(content(path)), path)


def fingerprint(path: Path) -> str:
    """The SHA-256 of a public key in PEM, written as cryptography does: the form has no freedom."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = _public_key(path)
    return hashlib.sha256(
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def certificates(path: Path) -> list[Certificate]:
    """Those in a file, at least one. Raises BadKey."""
    from cryptography.x509 import load_pem_x509_certificates

    with _reading("certificate", path, PASS_PEM):
        return load_pem_x509_certificates(content(path))


def _check_curve(key: Any, path: Path) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key
    what = f"not a key on a curve that is signed with: {', '.join(CURVES)}"
    raise BadKey(what, where=str(path), do=MAKE_ONE)


def can_sign(certificate: Certificate) -> bool:
    """Whether a signature by its key counts: digitalSignature, or codeSigning, in its usage."""
    from cryptography import x509

    with contextlib.suppress(x509.ExtensionNotFound):
        if certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return True
    with contextlib.suppress(x509.ExtensionNotFound):
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return x509.oid.ExtendedKeyUsageOID.CODE_SIGNING in usage
    return False
