"""Signed folders: what model-signing signs is verified here, and whatever was changed is named."""

import json
import shutil

import pytest
from model_signing import signing, verifying

from azubi.cli import main
from azubi.errors import CorruptFile, SettingError
from azubi.registry import card as cards
from azubi.registry import signature
from azubi.registry.store import Store
from tests.registry.sample import made


@pytest.fixture
def signed(home, tmp_path):
    signature.make_key(home)
    folder = tmp_path / "folder"
    (folder / "more").mkdir(parents=True)
    for name in ("a.txt", "more/b.bin", cards.REPORT):
        (folder / name).write_bytes(name.encode() * 100)
    assert signature.sign(folder, home) == signature.fingerprint(home / "keys" / "signing.pub")
    return folder


def keys(home):
    return signature.trusted_keys(home)


def test_a_signed_folder_is_verified_here_and_by_model_signing(signed, home):
    signed_files = signature.verify(signed, keys(home))
    assert sorted(signed_files.files) == ["a.txt", "more/b.bin", cards.REPORT, "signing.pub"]
    verifying.Config().use_elliptic_key_verifier(public_key=home / "keys" / "signing.pub").verify(
        signed, signed / signature.SIGNATURE
    )


def test_the_private_key_is_read_by_its_owner_alone(signed, home):
    assert (home / "keys" / "signing.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingError, match="a signing key"):
        signature.make_key(home)


@pytest.mark.parametrize("name", ["a.txt", "more/b.bin", "report.html", "signing.pub"])
@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "replaced"])
def test_a_changed_file_is_named(name, how, signed, home):
    path = signed / name
    content = path.read_bytes()
    changes = {
        "flipped": content[:5] + bytes([content[5] ^ 4]) + content[6:],
        "cut": content[:-1],
        "emptied": b"",
        "replaced": content[::-1],
    }
    path.write_bytes(changes[how])
    with pytest.raises(CorruptFile, match=f"{name} is not the file"):
        signature.verify(signed, keys(home), removable=(cards.REPORT,))
    with pytest.raises(ValueError, match="Signature mismatch"):
        verifying.Config().use_elliptic_key_verifier(public_key=home / "keys" / "signing.pub").verify(
            signed, signed / signature.SIGNATURE
        )


def test_a_file_more_or_less_is_named(signed, home):
    (signed / "more" / "c").write_text("x")
    with pytest.raises(CorruptFile, match="more/c does not belong"):
        signature.verify(signed, keys(home))
    (signed / "more" / "c").unlink()
    (signed / cards.REPORT).unlink()
    with pytest.raises(CorruptFile, match=r"report\.html is missing"):
        signature.verify(signed, keys(home))
    signature.verify(signed, keys(home), removable=(cards.REPORT,))


def test_every_byte_of_the_signature_counts(signed, home):
    path = signed / signature.SIGNATURE
    content = path.read_bytes()
    bundle = json.loads(content)
    for place in range(0, len(content), 61):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            signature.read(signed, keys(home))
        except CorruptFile:
            continue
        # What is not signed (names of media types, the key's hint) may differ; what is signed may not.
        changed = json.loads(path.read_bytes())
        assert changed["dsseEnvelope"] == bundle["dsseEnvelope"]
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptFile, match=r"model\.sig cannot be read"):
        signature.read(signed, keys(home))


def test_another_key_is_not_trusted(signed, home, tmp_path):
    other = signature.make_key(tmp_path / "other")
    with pytest.raises(CorruptFile, match="not made with a key that is trusted"):
        signature.verify(signed, [other])
    with pytest.raises(CorruptFile, match="no public key"):
        signature.verify(signed, [signed / "a.txt"])
    assert signature.verify(signed, [other, home / "keys" / "signing.pub"])


def test_a_key_in_a_token_signs_by_its_uri(signed, home, monkeypatch):
    """model-signing talks to the token; here it is a file in its place."""
    asked = []

    def token(config, *, pkcs11_uri):
        asked.append(pkcs11_uri)
        return config.use_elliptic_key_signer(private_key=home / "aside.key")

    monkeypatch.setattr(signing.Config, "use_pkcs11_signer", token)
    (home / "keys" / "signing.key").rename(home / "aside.key")
    (home / "keys" / "signing.uri").write_text("pkcs11:token=azubi;object=claims\n")
    (signed / signature.SIGNATURE).unlink()
    assert signature.has_key(home) and signature.sign(signed, home)
    assert asked == ["pkcs11:token=azubi;object=claims"]
    signature.verify(signed, keys(home))


def test_a_home_without_a_key_signs_nothing(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert signature.sign(folder, tmp_path / "none") == ""
    assert list(folder.iterdir()) == []
    with pytest.raises(CorruptFile, match="has no signature"):
        signature.verify(folder, [])


def put(home):
    version, folder = Store(home).reserve("triage")
    folder.mkdir(parents=True)
    card = made(version=version)
    cards.write(card, folder)
    Store(home).register(card)
    return folder


def test_keygen_signs_what_is_there_and_verify_says_so(home, capsys):
    folder = put(home)
    assert main(["verify", "triage"]) == 0
    assert "all as they" in capsys.readouterr().out
    assert main(["keygen"]) == 0
    assert "Signed: triage@1" in capsys.readouterr().out
    assert main(["verify", "triage@1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trusted"] is True
    (folder / signature.SIGNATURE).unlink()
    assert main(["verify", "triage@1"]) == 1
    assert "model.sig is missing" in capsys.readouterr().err
    assert main(["keygen"]) == 2


def test_signing_that_was_cut_off_leaves_a_version_that_can_be_used(home):
    folder = put(home)
    signature.make_key(home)
    signature.sign(folder, home)  # and killed before the log had it
    store = Store(home)
    assert store.verify(store.get("triage")).action == "register"
    assert store.sign(store.get("triage")).details["key"]
    assert store.verify(store.get("triage")).action == "sign"


def test_a_folder_is_verified_without_a_home(home, tmp_path, capsys, monkeypatch):
    folder = put(home)
    assert main(["keygen"]) == 0
    key = shutil.copy(home / "keys" / "signing.pub", tmp_path / "sender.pub")
    elsewhere = shutil.copytree(folder, tmp_path / "got")
    capsys.readouterr()
    assert main(["verify", str(elsewhere), "--home", str(tmp_path / "fresh")]) == 0
    assert "That key came with the folder" in capsys.readouterr().out
    assert main(["verify", str(elsewhere), "--key", str(key), "--home", str(tmp_path / "fresh")]) == 0
    assert "came with" not in capsys.readouterr().out
    assert not (tmp_path / "fresh").exists()
    (elsewhere / cards.CARD).write_text("{}")
    assert main(["verify", str(elsewhere), "--home", str(tmp_path / "fresh")]) == 1
    assert "specialist.json is not the file" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "triage").mkdir()
    assert main(["verify", "triage"]) == 2
    assert "Write ./triage" in capsys.readouterr().err
