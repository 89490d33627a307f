"""The command when something is wrong: one sentence, a status, and nothing half done."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gridgrad
from gridgrad.app import formats, picture

from .commanding import HILL, call, command, contents, refused, save, script


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "part"),
        [
            (["no.npy"], "no file 'no.npy'"),
            (["no.npy", "--out", "g.npy"], "no file 'no.npy'"),
            (["folder.npy"], "folder"),
            (["empty.npy"], "'empty.npy' is empty"),
            (["empty.csv"], "'empty.csv' is empty"),
            (["empty.png"], "'empty.png' is empty"),
            (["notes.txt"], "unknown format"),
            (["none.csv"], "no numbers"),
            (["none.npy"], "no numbers"),
            (["words.npy"], "input"),
            (["truth.npy"], "input"),
            (["objects.npy"], "Python objects"),
            (["broken.npz"], "not a whole .npz file"),
            (["broken.jpg"], "image"),
            (["single.npy"], "2"),
            (["sample:moon"], "sample:terrain"),
            (["f.npy", "--dim", "2"], "--dim"),
            (["f.npy", "--dim", "x"], "--dim"),
            (["f.npy", "--dim", ""], "--dim"),
            (["f.npy", "--dim", "1,-1"], "--dim"),
            (["f.npy", "--spacing", "0"], "spacing"),
            (["f.npy", "--spacing", "nan"], "spacing"),
            (["f.npy", "--spacing", "1,2,3"], "spacing"),
            (["f.npy", "--spacing", "one"], "--spacing"),
            (["f.npy", "--spacing", "x.npy"], "x.npy"),
            (["f.npy", "--edge-order", "0"], "edge_order"),
            (["f.npy", "--out", "g.txt"], "--out"),
            (["f.npy", "--out", "g.png"], "--out"),
            (["f.npy", "--plot", "g.npy"], "--plot"),
            (["f.npy", "--plot", "g.bmp"], "--plot"),
            (["f.npy", "--out", "nowhere/g.npy"], "'nowhere'"),
            (["f.npy", "--plot", "nowhere/g.png"], "'nowhere'"),
            (["f.npy", "--out", "old.npy"], "--force"),
            (["f.npy", "--plot", "old.png"], "--force"),
            (["f.npy", "--out", "g.npz", "--plot", "old.png"], "--force"),
            (["f.npy", "--out", "f.npy", "--force"], "input"),
            (["f.npy", "--out", "folder.npy", "--force"], "not a file"),
            (["f.npy", "--out", "g.csv"], ".npz"),
            (["f.npy", "--var", "x"], "--var"),
            (["f.npy", "--coordinate", "x"], "--coordinate"),
            (["four.npy", "--plot", "g.png"], "4-D"),
            (["sample:terrain", "--spacing", "1"], "--spacing"),
        ],
    )
    def test_one_sentence_and_nothing_written(self, words: list[str], part: str) -> None:
        Path("folder.npy").mkdir()
        for name in ("empty.npy", "empty.csv", "empty.png"):
            Path(name).touch()
        Path("notes.txt").write_text("1 2 3")
        Path("none.csv").write_text("# nothing\n")
        Path("broken.npz").write_bytes(b"PK")
        Path("broken.jpg").write_bytes(b"\xff\xd8\xff")
        Path("old.npy").write_bytes(b"old")
        Path("old.png").write_bytes(b"old")
        save(HILL)
        save(np.zeros((0, 3)), "none.npy")
        save(np.array(["a", "b"]), "words.npy")
        save(np.array([True, False]), "truth.npy")
        save(np.array([1.0]), "single.npy")
        save(np.ones((2, 2, 2, 2)), "four.npy")
        np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
        before = contents()
        assert part in refused(call(*words))
        assert contents() == before

    @pytest.mark.parametrize(
        "words", [["gradient"], ["gradient", "f.npy", "--nope"], ["nope"], ["gradient", "a", "b"]]
    )
    def test_usage(self, words: list[str]) -> None:
        result = command(*words)
        assert (result.returncode, result.stdout) == (2, "")
        assert "Usage:" in result.stderr
        assert "Traceback" not in result.stderr

    def test_in_a_process_of_its_own(self) -> None:
        assert "no file" in refused(command("gradient", "no.npy", "--out", "g.npy"))
        assert os.listdir() == []

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
    def test_permissions(self) -> None:
        save(HILL)
        os.chmod("f.npy", 0)
        assert "Permission denied" in refused(call("f.npy"))


def raiser(fault: BaseException) -> Callable[..., None]:
    def raises(*_: object, **__: object) -> None:
        raise fault

    return raises


class TestFaultsAtWork:
    def half(self, fault: BaseException) -> Callable[..., None]:
        def write(file: Any, *_: object) -> None:
            file.write(b"half")
            raise fault

        return write

    @pytest.mark.parametrize("old", [False, True])
    @pytest.mark.parametrize(
        ("fault", "status", "part"),
        [
            (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "No space left"),
            (MemoryError(), 2, "not enough memory"),
            (KeyboardInterrupt(), 130, "Interrupted"),
            (TypeError("odd"), 2, "fault in gridgrad"),
        ],
    )
    def test_while_writing(
        self,
        fault: BaseException,
        status: int,
        part: str,
        old: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        save(HILL)
        if old:
            Path("g.npy").write_bytes(b"old")
            Path("g.png").write_bytes(b"old")
        before = contents()
        words = ["f.npy", "--out", "g.npy", "--plot", "g.png", "--force"]
        for module, name, stand_in in [
            (formats, "write", self.half(fault)),
            (picture, "draw", raiser(fault)),
            (gridgrad, "gradient", raiser(fault)),
        ]:
            with monkeypatch.context() as patch:
                patch.setattr(module, name, stand_in)
                result = call(*words)
            assert result.exit_code == status
            assert result.stderr.count("\n") == 1
            assert part in result.stderr
            assert contents() == before

    def test_an_output_that_appears_meanwhile_is_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = gridgrad.gradient

        def slow(*args: Any, **options: Any) -> Any:
            Path("g.npy").write_bytes(b"theirs")
            return real(*args, **options)

        monkeypatch.setattr(gridgrad, "gradient", slow)
        assert "--force" in refused(call(save(HILL), "--out", "g.npy"))
        assert Path("g.npy").read_bytes() == b"theirs"

    @pytest.mark.parametrize(
        ("blow", "status"),
        [("os._exit(9)", 9), ("os.kill(os.getpid(), signal.SIGTERM)", 143)],
    )
    def test_the_old_file_outlives_a_crash(self, blow: str, status: int) -> None:
        save(HILL)
        Path("g.npy").write_bytes(b"old")
        code = (
            "from gridgrad.app import formats\n"
            f"formats.write = lambda file, *_: (file.write(b'half'), {blow})"
        )
        result = script(code, "f.npy", "--out", "g.npy", "--force")
        assert result.returncode == status
        assert Path("g.npy").read_bytes() == b"old"
        assert "Traceback" not in result.stderr
        if status == 143:
            assert sorted(os.listdir()) == ["f.npy", "g.npy"]

    def test_a_missing_extra_is_named(self) -> None:
        save(HILL)
        result = script("sys.modules['matplotlib'] = None", "f.npy", "--plot", "g.png")
        assert "gridgrad[cli]" in result.stderr
        assert result.returncode == 2
        assert "Traceback" not in result.stderr

    def test_a_reader_that_leaves_early_is_no_error(self) -> None:
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as closed:
            result = command(
                "gradient", save(HILL), "--out", "g.npy", "--quiet", "--json", stdout=closed
            )
        assert (result.returncode, result.stderr) == (0, "")
        assert Path("g.npy").exists()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
    def test_a_full_disk_behind_stdout(self) -> None:
        with open("/dev/full", "w") as full:
            result = command("gradient", save(HILL), stdout=full)
        assert result.returncode == 2
        assert result.stderr == "gridgrad: No space left on device.\n"
