import hashlib
from pathlib import Path

import pytest

from features.workspace.atomic_files import copy_files, sha256_of, sync_tree, write_atomically


def test_copy_keeps_nested_files_and_names_their_digests(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "a.npz").write_bytes(b"")
    (source / "deep" / "b.npz").write_bytes(b"abc")

    digests = copy_files(source, target)

    # SHA-256 of nothing and of "abc": the first test vectors of FIPS 180-4
    assert digests == {
        "a.npz": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "deep/b.npz": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    assert (target / "deep" / "b.npz").read_bytes() == b"abc"
    assert sha256_of(target / "deep" / "b.npz") == digests["deep/b.npz"]


def test_copy_longer_than_a_chunk_is_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4097  # 1 MiB and 256 bytes
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "weights").write_bytes(content)

    digests = copy_files(tmp_path / "source", tmp_path / "target")

    assert (tmp_path / "target" / "weights").read_bytes() == content
    assert digests == {"weights": hashlib.sha256(content).hexdigest()}


def test_an_empty_folder_copies_to_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    assert copy_files(tmp_path / "source", tmp_path / "target") == {}
    assert list((tmp_path / "target").iterdir()) == []


def test_write_replaces_the_file_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "CURRENT"
    write_atomically(path, b"old, and longer")
    write_atomically(path, b"new")
    sync_tree(tmp_path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "CURRENT"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
