"""Signed folders: a key of one's own, a signature over every file, and whether they are as they were signed.

    <home>/keys/signing.key      the private key (NIST P-256, PEM), mode 0600; or
    <home>/keys/signing.uri      a PKCS #11 URI of it, where it lies in a token
    <home>/keys/*.pub            public keys whose signatures are trusted here; signing.pub is one's own
    FOLDER/model.sig             the signature: a Sigstore bundle, as OpenSSF model-signing writes it
    FOLDER/signing.pub           the public key, for whoever gets the folder without a home

model-signing writes the signature. Here it is checked with cryptography alone: every command that answers
does so, and model-signing takes a quarter of a second to import. Knows folders, not what is in them.
"""

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from azubi.errors import CorruptFile, SettingError
from azubi.storage import files

SIGNATURE, PUBLIC_KEY = "model.sig", "signing.pub"
_PRIVATE_KEY, _TOKEN = "signing.key", "signing.uri"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_LARGEST_SIGNATURE = 64 << 20
"""Bytes; what is larger is not read."""


@dataclass(frozen=True)
class Signed:
    """What a folder's signature says."""

    key: str
    """Fingerprint of the public key: SHA-256 of its PEM."""
    files: dict[str, str]
    """SHA-256 of each file that was signed, by its path in the folder."""


def make_key(home: Path) -> Path:
    """Make a key for this home; returns the path of the public one.

    Raises:
        SettingError: there is a key already.
        StorageError: the home cannot be written.
    """
    folder = home / "keys"
    with files.locked(folder):
        if has_key(home):
            raise SettingError(
                f"There is a signing key in {folder} already.",
                f"Keep it. To begin with a new one, move {_PRIVATE_KEY} away and give {PUBLIC_KEY} another "
                "name ending in .pub, so that what it signed can still be verified.",
            )
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files.write_bytes(folder / PUBLIC_KEY, _pem(private.public_key()))
        with files.new_file(folder / _PRIVATE_KEY) as scratch:  # made by mkstemp: nobody else can read it
            scratch.write_bytes(pem)
    return folder / PUBLIC_KEY


def has_key(home: Path) -> bool:
    """Whether versions of this home are signed."""
    return any((home / "keys" / name).is_file() for name in (_PRIVATE_KEY, _TOKEN))


def trusted_keys(home: Path) -> list[Path]:
    """The public keys whose signatures are trusted in this home."""
    return sorted((home / "keys").glob("*.pub"))


def sign(folder: Path, home: Path) -> str:
    """Sign all files of a folder with the home's key; returns its fingerprint, or "" if there is no key.

    Raises:
        CorruptFile: the key cannot be read.
    """
    if not has_key(home):
        return ""
    from model_signing import hashing, signing

    keys, token = home / "keys", home / "keys" / _TOKEN
    files.write_bytes(folder / PUBLIC_KEY, (keys / PUBLIC_KEY).read_bytes())
    config = signing.Config().set_hashing_config(
        hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    )
    try:
        if token.is_file():
            config.use_pkcs11_signer(pkcs11_uri=token.read_text().strip())
        else:
            config.use_elliptic_key_signer(private_key=keys / _PRIVATE_KEY)
        with tempfile.TemporaryDirectory() as elsewhere:  # what lies in the folder is signed
            config.sign(folder, Path(elsewhere, SIGNATURE))
            files.write_bytes(folder / SIGNATURE, Path(elsewhere, SIGNATURE).read_bytes())
    except (ValueError, RuntimeError) as error:
        raise CorruptFile(
            f"The signing key in {keys} cannot be used: {error}", "Bring it back from a copy."
        ) from error
    return fingerprint(keys / PUBLIC_KEY)


def fingerprint(public_key: Path) -> str:
    """SHA-256 of a public key's PEM, in hexadecimal digits.

    Raises:
        CorruptFile: it is no public key of a curve that is used for this.
    """
    return hashlib.sha256(_pem(_public_key(public_key))).hexdigest()


def read(folder: Path, keys: Iterable[Path]) -> Signed:
    """What the folder's signature says, if one of these keys made it; the files are not compared.

    Raises:
        CorruptFile: there is no signature, it is damaged, or none of the keys made it.
    """
    path = folder / SIGNATURE
    try:
        if path.stat().st_size > _LARGEST_SIGNATURE:
            raise ValueError("it is too large")
        bundle = json.loads(path.read_bytes())
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        statement = json.loads(payload)
        resources = statement["predicate"]["resources"]
        signed = {str(each["name"]): str(each["digest"]) for each in resources}
        if envelope["payloadType"] != _PAYLOAD_TYPE or {each["algorithm"] for each in resources} != {
            "sha256"
        }:
            raise ValueError("it is of another kind")
    except FileNotFoundError:
        raise CorruptFile(f"{folder} has no signature: {SIGNATURE} is missing.", _BRING_BACK) from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CorruptFile(f"{path} cannot be read: {error!r}.", _BRING_BACK) from error
    # What is signed: the envelope's "pre-authentication encoding" (github.com/secure-systems-lab/dsse).
    encoded = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)
    for key in keys:
        public = _public_key(key)
        try:
            public.verify(signature, encoded, ec.ECDSA(_hash_for(public)))
        except InvalidSignature:
            continue
        return Signed(fingerprint(key), signed)
    raise CorruptFile(
        f"{path} was not made with a key that is trusted here.",
        "Bring the folder back from a copy, or give the public key of whoever signed it.",
    )


_BRING_BACK = "Bring the folder back from a copy."


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path there.

    Raises:
        CorruptFile: there is something that is neither file nor folder, such as a link.
    """
    digests = {}
    for parent, folders, names in os.walk(folder):
        for name in sorted((*folders, *names)):
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise CorruptFile(f"{path} is a link or a device, no file.", _BRING_BACK)
            if path.is_file():
                digests[path.relative_to(folder).as_posix()] = files.sha256(path)
    return digests


def compare(
    folder: Path,
    actual: Mapping[str, str],
    expected: Mapping[str, str],
    removable: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> None:
    """Refuse a folder whose files are not those expected; those `removable` may be missing, `extra` be there.

    Raises:
        CorruptFile: names the first file that is missing, differs, or does not belong there.
    """
    for name, digest in expected.items():
        if name not in actual and name not in removable:
            raise CorruptFile(f"{folder / name} is missing.", _BRING_BACK)
        if actual.get(name, digest) != digest:
            remedy = "Remove it, if it was changed on purpose (such as to erase a person from it)."
            raise CorruptFile(
                f"{folder / name} is not the file that was packaged: its SHA-256 differs.",
                f"{_BRING_BACK} {remedy}" if name in removable else _BRING_BACK,
            )
    for name in actual:
        if name not in expected and name not in extra:
            raise CorruptFile(f"{folder / name} does not belong to what was packaged.", "Move it away.")


def verify(folder: Path, keys: Sequence[Path], removable: Sequence[str] = ()) -> Signed:
    """Verify a folder that came from anywhere: signed by one of these keys, and every file as it was signed.

    Raises:
        CorruptFile: it is not; names the file.
    """
    signed = read(folder, keys)
    compare(folder, hashes_of(folder), signed.files, removable, extra=(SIGNATURE,))
    return signed


def _public_key(path: Path) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptFile(
            f"{path} is no public key in PEM format.", "Give the file that keygen made."
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CorruptFile(f"{path} is a public key of another kind.", "Give one of an elliptic curve.")
    return key


def _pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _hash_for(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """As model-signing chooses it."""
    return {256: hashes.SHA256(), 384: hashes.SHA384()}.get(key.curve.key_size, hashes.SHA512())
