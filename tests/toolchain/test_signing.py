"""A bundle is signed with a key or a certificate; whatever is changed after that is named."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.toolchain.certificates import chain
from tests.toolchain.manifests import contents, resealed
from tests.toolchain.projects import mlship
from toolchain.bundle import bundle, folders
from toolchain.bundle.manifest import Contents
from toolchain.ci import lock
from toolchain.signing import extra
from toolchain.signing import sign as sign_module

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def write_keys(folder: Path, key: Any, name: str = "", cipher: Any = PLAIN) -> None:
    (folder / f"{name}private.pem").write_bytes(key.private_bytes(PEM, PKCS8, cipher))
    (folder / f"{name}public.pem").write_bytes(key.public_key().public_bytes(PEM, SPKI))


def write_bundle(folder: Path, said: Contents, weight: bytes = b"weights") -> Path:
    (folder / "golden").mkdir(parents=True)
    (folder / "tiny.bin").write_bytes(weight)
    (folder / "golden" / "photo.safetensors").write_bytes(b"golden")
    bundle.seal(folder, said.model_copy(update={"golden": ("golden/photo.safetensors",)}))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys and a signed bundle."""
    root = tmp_path_factory.mktemp("signed")
    write_keys(root, ec.generate_private_key(ec.SECP256R1()))
    write_keys(root, ec.generate_private_key(ec.SECP256R1()), "other-")
    write_bundle(root / "tiny-ios", contents())
    assert sign(root).exit_code == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "root"))


def sign(root: Path, *more: object) -> Result:
    key = ("--key", root / "private.pem")
    return mlship("sign", root / "tiny-ios", *key, "--project", root, *more)


def verify(root: Path, *more: object) -> Result:
    return mlship("verify", root / "tiny-ios", *(more or ("--key", root / "public.pem")))


def test_what_was_signed_is_as_signed(root: Path) -> None:
    result = verify(root)
    assert result.exit_code == 0, result.output
    assert "tiny-ios: signed, and whole" in result.stdout
    assert sorted(path.name for path in (root / "tiny-ios.sigs").iterdir()) == [
        *("bundle.sig", "documents.sig", "provenance.intoto.json", "sbom.cdx.json")
    ]


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves_sign_too(root: Path, curve: ec.EllipticCurve) -> None:
    write_keys(root, ec.generate_private_key(curve))
    assert (sign(root).exit_code, verify(root).exit_code) == (0, 0)


def test_a_bundle_may_be_moved_renamed_and_linked_to(root: Path) -> None:
    (root / "app").mkdir()
    for end in ("", ".sigs"):
        (root / f"tiny-ios{end}").rename(root / "app" / f"net{end}")
    (root / "current").symlink_to(root / "app" / "net")
    asked = ("verify", root / "current", "--key", root / "public.pem", "--json")
    (found,) = json.loads(mlship(*asked).stdout)
    assert found["ok"]
    assert [one["verdict"] for one in found["findings"]] == ["passed"] * 4


BUNDLE_FILES = ("manifest.json", "tiny.bin", "golden/photo.safetensors")
DOCUMENTS = ("sbom.cdx.json", "provenance.intoto.json")
FILES = [
    *((f"tiny-ios/{name}", name) for name in BUNDLE_FILES),
    *((f"tiny-ios.sigs/{name}", name) for name in DOCUMENTS),
]


@pytest.mark.parametrize(("path", "name"), FILES)
@pytest.mark.parametrize("how", ["changed", "removed", "linked"])
def test_a_file_that_was_changed_is_named(root: Path, path: str, name: str, how: str) -> None:
    file, why = root / path, "was changed"
    if how == "changed":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif how == "removed":
        file.unlink()
        why = "is missing"
    else:
        shutil.copy(file, root / "elsewhere")
        file.unlink()
        file.symlink_to(root / "elsewhere")
        why = "is neither a file nor a folder"
    result = verify(root)
    assert result.exit_code == 1, result.output
    assert f"{name} is not as signed: {why}" in result.stderr


def test_a_whole_bundle_with_other_weights_is_named(root: Path) -> None:
    """Its manifest vouches for what an attacker put in; the signature does not."""
    (root / "tiny-ios" / "tiny.bin").write_bytes(b"Weights")
    resealed(root / "tiny-ios")
    bundle.read(root / "tiny-ios")
    result = verify(root)
    assert result.exit_code == 1
    assert "tiny.bin is not as signed" in result.stderr


@pytest.mark.parametrize("name", ["x.txt", ".gitignore", ".git/config", ".github/x"])
@pytest.mark.parametrize("folder", ["tiny-ios", "tiny-ios.sigs"])
def test_a_file_that_was_added_is_named(root: Path, folder: str, name: str) -> None:
    path = root / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    result = verify(root)
    assert result.exit_code == 1
    assert f"{name} is not as signed: was added" in result.stderr


def test_a_pipe_that_was_added_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "tiny-ios" / "pipe")
    result = verify(root)
    assert result.exit_code == 1
    assert "pipe is not as signed: is neither a file nor a folder" in result.stderr


def test_another_key_did_not_sign(root: Path) -> None:
    result = verify(root, "--key", root / "other-public.pem")
    assert result.exit_code == 1
    assert "bundle.sig is not as signed: another key signed it" in result.stderr
    assert "documents.sig is not as signed: another key signed it" in result.stderr


@pytest.mark.parametrize("name", ["bundle.sig", "documents.sig"])
def test_a_signature_by_another_key_that_claims_this_one(root: Path, name: str) -> None:
    path = root / "tiny-ios.sigs" / name
    honest = json.loads(path.read_text())
    assert sign(root, "--key", root / "other-private.pem").exit_code == 0
    forged = json.loads(path.read_text())
    forged["verificationMaterial"] = honest["verificationMaterial"]
    path.write_text(json.dumps(forged))
    result = verify(root)
    assert result.exit_code == 1
    assert f"{name} is not as signed: the signature is not one by this key" in result.stderr


def test_what_is_signed_is_not_believed_without_the_signature(root: Path) -> None:
    """The digests of the changed file are put into what is signed: the key did not sign that."""
    (root / "tiny-ios" / "tiny.bin").write_bytes(b"Weights")
    honest = root / "tiny-ios.sigs" / "bundle.sig"
    data = json.loads(honest.read_text())
    resealed(root / "tiny-ios")
    assert sign(root, "--key", root / "other-private.pem").exit_code == 0
    data["dsseEnvelope"]["payload"] = json.loads(honest.read_text())["dsseEnvelope"]["payload"]
    honest.write_text(json.dumps(data))
    result = verify(root)
    assert result.exit_code == 1
    assert "bundle.sig is not as signed" in result.stderr


def test_the_signatures_of_another_bundle(root: Path) -> None:
    write_bundle(root / "else-ios", contents(), b"else")
    asked = ("sign", root / "else-ios", "--key", root / "private.pem", "--project", root)
    assert mlship(*asked).exit_code == 0
    for name in ("bundle.sig", *DOCUMENTS, "documents.sig"):
        shutil.copy(root / "else-ios.sigs" / name, root / "tiny-ios.sigs" / name)
        result = verify(root)
        assert result.exit_code == 1, name
    assert "tiny.bin is not as signed: was changed" in result.stderr


def test_documents_of_another_bundle_are_named(root: Path) -> None:
    """They are signed with the same key, and yet are not of this bundle."""
    said = contents()
    said = said.model_copy(update={"recipe": said.recipe.model_copy(update={"name": "small"})})
    write_bundle(root / "else-ios", said, b"else")
    asked = ("sign", root / "else-ios", "--key", root / "private.pem", "--project", root)
    assert mlship(*asked).exit_code == 0
    for name in (*DOCUMENTS, "documents.sig"):
        shutil.copy(root / "else-ios.sigs" / name, root / "tiny-ios.sigs" / name)
    result = verify(root)
    assert result.exit_code == 1
    for name in DOCUMENTS:
        said_ = "it says otherwise than the bundle: recipe, files: manifest.json, files: tiny.bin"
        assert f"{name} is not as signed: {said_}" in result.stderr


@pytest.mark.parametrize("name", ["bundle.sig", "documents.sig"])
def test_flipped_bits_of_a_signature_are_refused(root: Path, name: str) -> None:
    path = root / "tiny-ios.sigs" / name
    whole = path.read_bytes()
    codes = set()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        result = verify(root)
        assert result.exit_code in (1, 2), f"{at}: {result.output}"
        assert not re.search(r"Traceback|\w+Error\b|mismatch", result.output), result.output
        codes.add(result.exit_code)
    assert codes == {1, 2}


UNREADABLE = [
    b"",
    b"x",
    b"[]",
    b"{}",
    b"\xff",
    b'{"dsseEnvelope": {"payload": "e30="}}',
    b"[" * 9999,
]


@pytest.mark.parametrize("content", UNREADABLE)
def test_what_is_no_signature_is_refused(root: Path, content: bytes) -> None:
    (root / "tiny-ios.sigs" / "bundle.sig").write_bytes(content)
    result = verify(root)
    assert result.exit_code == 2
    assert "the signature cannot be read" in result.stderr
    assert not re.search(r"\w+Error\b", result.output)


def test_no_signature_is_an_error(root: Path) -> None:
    (root / "tiny-ios.sigs" / "documents.sig").unlink()
    assert verify(root).exit_code == 2
    shutil.rmtree(root / "tiny-ios.sigs")
    result = verify(root, "--key", root / "public.pem", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["kind"] == "BadSignature"


def bad_keys(root: Path) -> dict[str, str]:
    """By file: what is said of it as a key."""
    (root / "text.pem").write_text("not a key")
    (root / "empty.pem").write_bytes(b"")
    (root / "large.pem").write_bytes(bytes(1 << 21))
    os.mkfifo(root / "pipe.pem")
    write_keys(root, rsa.generate_private_key(65537, 2048), "rsa-")
    write_keys(root, ec.generate_private_key(ec.SECP256K1()), "k1-")
    return {
        **{"text.pem": "this is no", "empty.pem": "this is no", "none.pem": "there is no such"},
        **{"pipe.pem": "this is a pipe", "large.pem": "no key has", ".": "a folder"},
    }


def test_what_is_no_key_is_refused(root: Path) -> None:
    both = bad_keys(root)
    ends = {"rsa-": "not a key on a curve", "k1-": "not a key on a curve"}
    private = {f"{name}private.pem": why for name, why in ends.items()} | {"public.pem": "no priv"}
    public = {f"{name}public.pem": why for name, why in ends.items()} | {"private.pem": "no public"}
    for command, bad in ((sign, both | private), (verify, both | public)):
        for name, why in bad.items():
            result = command(root, "--key", root / name)
            assert result.exit_code == 2, (name, result.output)
            assert why in result.stderr
            assert f"where: {root / name}" in result.stderr
            assert "do: " in result.stderr
    assert verify(root).exit_code == 0


def test_an_encrypted_key_is_refused(root: Path) -> None:
    cipher = serialization.BestAvailableEncryption(b"word")
    write_keys(root, ec.generate_private_key(ec.SECP256R1()), "own-", cipher)
    result = sign(root, "--key", root / "own-private.pem")
    assert result.exit_code == 2
    assert "the private key is encrypted" in result.stderr


def test_a_certificate_vouches_for_the_key(root: Path) -> None:
    chain(root)
    more = ("--certificate", root / "leaf.pem", "--chain", root / "middle.pem")
    assert sign(root, "--key", root / "leaf-private.pem", *more).exit_code == 0
    result = verify(root, "--certificate", root / "root.pem")
    assert result.exit_code == 0, result.output
    assert "signed by CN=leaf, and whole" in result.stdout
    (root / "tiny-ios" / "tiny.bin").write_bytes(b"Weights")
    assert verify(root, "--certificate", root / "root.pem").exit_code == 1


def test_a_certificate_of_others_does_not(root: Path) -> None:
    chain(root)
    more = ("--certificate", root / "leaf.pem", "--chain", root / "middle.pem")
    assert sign(root, "--key", root / "leaf-private.pem", *more).exit_code == 0
    (root / "others").mkdir()
    chain(root / "others")
    result = verify(root, "--certificate", root / "others" / "root.pem")
    assert result.exit_code == 1
    assert "not one that these vouch for" in result.stderr
    # Without what stands between, the root does not vouch for the leaf.
    assert sign(root, "--key", root / "leaf-private.pem", *more[:2]).exit_code == 0
    assert verify(root, "--certificate", root / "root.pem").exit_code == 1


def test_a_key_for_a_certificate_and_the_other_way_round(root: Path) -> None:
    chain(root)
    result = verify(root, "--certificate", root / "root.pem")
    assert (result.exit_code, "pass the public key" in result.stderr) == (2, True)
    more = ("--certificate", root / "leaf.pem", "--chain", root / "middle.pem")
    assert sign(root, "--key", root / "leaf-private.pem", *more).exit_code == 0
    result = verify(root)
    assert (result.exit_code, "pass the root" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("key", "more", "why"),
    [
        ("private.pem", ("--certificate", "leaf.pem"), "not one of the private key"),
        ("leaf-private.pem", ("--certificate", "private.pem"), "this is no certificate"),
        (
            "leaf-private.pem",
            ("--certificate", "leaf.pem", "--chain", "none.pem"),
            "no such key file",
        ),
        ("useless-private.pem", ("--certificate", "useless.pem"), "not one to sign with"),
        ("early-private.pem", ("--certificate", "early.pem"), "not today"),
        ("late-private.pem", ("--certificate", "late.pem"), "not today"),
        ("private.pem", ("--chain", "middle.pem"), "a chain without a certificate"),
    ],
)
def test_certificates_that_cannot_sign(
    root: Path, key: str, more: tuple[str, ...], why: str
) -> None:
    chain(root)
    options = [word if word.startswith("--") else root / word for word in more]
    result = sign(root, "--key", root / key, *options)
    assert result.exit_code == 2
    assert why in result.stderr


def test_the_options_of_verify_go_together(root: Path) -> None:
    bundle_, key = root / "tiny-ios", root / "public.pem"
    assert mlship("verify", "--key", key).exit_code == 2
    assert mlship("verify", bundle_, "--key", key, "--rebuild").exit_code == 2
    result = mlship("verify", bundle_)
    assert (result.exit_code, "is needed" in result.stderr) == (2, True)
    result = mlship("verify", bundle_, "--key", key, "--certificate", key)
    assert (result.exit_code, "is needed" in result.stderr) == (2, True)
    assert mlship("verify", root / "none", "--key", key).exit_code == 2


def test_a_bundle_that_is_not_whole_is_not_signed(root: Path) -> None:
    (root / "tiny-ios" / "tiny.bin").write_bytes(b"Weights")
    before = (root / "tiny-ios.sigs" / "bundle.sig").read_bytes()
    assert sign(root).exit_code == 2
    assert (root / "tiny-ios.sigs" / "bundle.sig").read_bytes() == before


def test_only_signatures_are_overwritten(root: Path) -> None:
    (root / "tiny-ios.sigs" / "mine.txt").write_text("mine")
    result = sign(root)
    assert (result.exit_code, "is in the way" in result.stderr) == (2, True)
    shutil.rmtree(root / "tiny-ios.sigs")
    (root / "tiny-ios.sigs").write_text("mine")
    assert sign(root).exit_code == 2
    assert (root / "tiny-ios.sigs").read_text() == "mine"


@pytest.mark.parametrize("published", [False, True])
def test_a_kill_leaves_old_or_new_signatures_and_the_next_signing_sweeps(
    root: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    before = (root / "tiny-ios.sigs" / "bundle.sig").read_bytes()
    honest = sign_module.put_in_place

    def killed(*where: Path) -> None:
        if published:
            honest(*where)
        raise KeyboardInterrupt

    left = root / ".tiny-ios.sigs.00000000.partial"
    left.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(sign_module, "put_in_place", killed)
        assert sign(root).exit_code == 130
    assert ((root / "tiny-ios.sigs" / "bundle.sig").read_bytes() != before) == published
    assert verify(root).exit_code == 0
    assert sign(root).exit_code == 0
    assert [path.name for path in root.glob(".*")] == []


def test_a_system_that_cannot_exchange_folders(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (root / "tiny-ios.sigs" / "bundle.sig").read_bytes()
    monkeypatch.setattr(folders, "exchange", lambda *_: False)
    assert (sign(root).exit_code, verify(root).exit_code) == (0, 0)
    assert (root / "tiny-ios.sigs" / "bundle.sig").read_bytes() != before


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_bill_of_materials(root: Path) -> None:
    from cyclonedx.model.bom import Bom

    data = read_json(root / "tiny-ios.sigs" / "sbom.cdx.json")
    bom = Bom.from_json(data)  # type: ignore[attr-defined]
    assert (data["bomFormat"], data["specVersion"]) == ("CycloneDX", "1.6")
    assert {part.name for part in bom.components} == {*BUNDLE_FILES, "tiny.pt"}
    assert [str(tool.purl) for tool in bom.metadata.tools.components] == ["pkg:pypi/torch@2.13.0"]
    before = (root / "tiny-ios.sigs" / "sbom.cdx.json").read_bytes()
    assert sign(root).exit_code == 0
    assert (root / "tiny-ios.sigs" / "sbom.cdx.json").read_bytes() == before


def locked(root: Path) -> Path:
    path = root / "mlship.lock"
    found = lock.Locked.of(bundle.read(root / "tiny-ios"))
    path.write_text(lock.text_of(lock.Lock(tools={}, machine="", bundles={"tiny-ios": found})))
    return path


def test_the_statement_names_files_recipe_weights_and_the_lock(root: Path) -> None:
    locked(root)
    assert sign(root).exit_code == 0
    data = read_json(root / "tiny-ios.sigs" / "provenance.intoto.json")
    assert data["_type"] == "https://in-toto.io/Statement/v1"
    assert data["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {one["name"] for one in data["subject"]} == {*BUNDLE_FILES}
    assert all(len(one["digest"]["sha256"]) == 64 for one in data["subject"])
    build = data["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {
        **{"model": "tiny", "target": "ios", "weights": "file"},
        "recipe": ["fp16", "fold-batchnorm", "weights-fp16"],
    }
    assert [one["name"] for one in build["resolvedDependencies"]] == ["tiny.pt", "mlship.lock"]
    assert data["predicate"]["runDetails"]["builder"]["version"] == {"torch": "2.13.0"}
    assert verify(root).exit_code == 0


def test_what_is_not_as_locked_is_not_signed(root: Path) -> None:
    path = locked(root)
    data = read_json(path)
    data["bundles"]["tiny-ios"]["recipe"] = ["fp32"]
    path.write_text(json.dumps(data))
    result = sign(root)
    assert result.exit_code == 2
    assert "the bundle is not as locked: recipe" in result.stderr


def test_without_the_extra_it_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "MODULES", ("json", "no_such_module_of_ours"))
    for result in (sign(root), verify(root)):
        assert result.exit_code == 3
        assert "pip install 'mlship-toolchain[sign]'" in result.stderr


SOCKETS: list[str] = []
WATCHING = [False]


def _watch(event: str, _: tuple[Any, ...]) -> None:
    if WATCHING[0] and event.startswith("socket."):
        SOCKETS.append(event)


@pytest.fixture
def sockets() -> Iterator[list[str]]:
    """What Python does with sockets meanwhile."""
    sys.addaudithook(_watch)  # stays for good, and is silent but here
    SOCKETS.clear()
    WATCHING[0] = True
    yield SOCKETS
    WATCHING[0] = False


def test_no_socket_is_opened(root: Path, sockets: list[str]) -> None:
    chain(root)
    more = ("--certificate", root / "leaf.pem", "--chain", root / "middle.pem")
    assert (sign(root).exit_code, verify(root).exit_code) == (0, 0)
    assert sign(root, "--key", root / "leaf-private.pem", *more).exit_code == 0
    assert verify(root, "--certificate", root / "root.pem").exit_code == 0
    assert sockets == []


def test_a_socket_would_be_seen(sockets: list[str]) -> None:
    import socket

    socket.socket().close()
    assert set(sockets) == {"socket.__new__"}


def test_the_signature_is_of_sigstore_s_form(root: Path) -> None:
    """So that other tools that know model-signing verify a bundle, too."""
    data = read_json(root / "tiny-ios.sigs" / "bundle.sig")
    assert data["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    payload = json.loads(base64.b64decode(data["dsseEnvelope"]["payload"]))
    assert payload["predicateType"] == "https://model_signing/signature/v1.0"
    assert {one["name"] for one in payload["predicate"]["resources"]} == {*BUNDLE_FILES}


def test_the_commands_of_the_docs_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "signing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.split("#")[0].split() for block in blocks for line in block.splitlines()]
    monkeypatch.chdir(root)
    write_bundle(root / "dist" / "tiny-ios", contents())
    ran = []
    for program, *words in commands:
        if "sign" in words and "--certificate" in words:
            chain(root)
            (root / "leaf-private.pem").rename(root / "private.pem")
            (root / "leaf.pem").rename(root / "signer.pem")
        if program == "mlship":
            result = mlship(*words)
            assert result.exit_code == 0, result.output
        elif program != "pip":
            tool = shutil.which(program) or str(Path(sys.executable).parent / program)
            subprocess.run([tool, *words], check=True, capture_output=True)
        ran.append(program)
    assert ran == [
        "pip",
        "openssl",
        "openssl",
        "mlship",
        "mlship",
        "model_signing",
        "mlship",
        "mlship",
    ]
