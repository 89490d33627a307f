"""Outputs appear whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gridgrad.app.atomic import check_output, published
from gridgrad.app.source import FileProblem


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_checks_before_the_work() -> None:
    Path("folder.npy").mkdir()
    Path("old.npy").write_bytes(b"old")
    Path("in.npy").write_bytes(b"in")
    Path("link.npy").symlink_to("in.npy")
    for name, force, words in [
        ("g.txt", False, "must end in one of .npy"),
        ("g", False, "must end in one of .npy"),
        ("nowhere/g.npy", False, "no folder 'nowhere'"),
        ("folder.npy", True, "not a file"),
        ("old.npy", False, "--force"),
        ("in.npy", True, "input"),
        ("link.npy", True, "input"),
    ]:
        with pytest.raises(FileProblem, match=words):
            check_output(
                Path(name), "--out", suffixes=[".npy"], force=force, inputs=[Path("in.npy")]
            )
    check_output(Path("old.npy"), "--out", suffixes=[".npy"], force=True, inputs=[])
    check_output(Path("NEW.NPY"), "--out", suffixes=[".npy"], force=False, inputs=[])


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_fault_leaves_what_was_there(fault: BaseException, old: bytes | None) -> None:
    path = Path("g.npy")
    if old is not None:
        path.write_bytes(old)
    expected = FileProblem if isinstance(fault, OSError) else type(fault)

    def crash() -> None:
        with published(path, force=True) as file:
            file.write(b"half")
            raise fault

    with pytest.raises(expected):
        crash()
    assert os.listdir() == ([] if old is None else ["g.npy"])
    assert old is None or path.read_bytes() == old


def test_a_file_that_appears_meanwhile_wins() -> None:
    def race() -> None:
        with published(Path("g"), force=False) as file:
            file.write(b"mine")
            Path("g").write_bytes(b"theirs")

    with pytest.raises(FileProblem, match="--force"):
        race()
    assert Path("g").read_bytes() == b"theirs"
    assert os.listdir() == ["g"]


@pytest.mark.parametrize("taken", [False, True])
def test_file_systems_without_hard_links(monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    if taken:
        with pytest.raises(FileProblem), published(Path("g"), force=False):
            Path("g").write_bytes(b"theirs")
    else:
        with published(Path("g"), force=False) as file:
            file.write(b"mine")
    assert Path("g").read_bytes() == (b"theirs" if taken else b"mine")
    assert os.listdir() == ["g"]


def test_permissions_and_links_stay() -> None:
    with published(Path("fresh"), force=False):
        pass
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(os.stat("fresh").st_mode) == 0o666 & ~mask
    Path("real").write_bytes(b"old")
    os.chmod("real", 0o640)
    Path("alias").symlink_to("real")
    with published(Path("alias"), force=True) as file:
        file.write(b"new")
    assert Path("alias").is_symlink()
    assert Path("real").read_bytes() == b"new"
    assert stat.S_IMODE(os.stat("real").st_mode) == 0o640
