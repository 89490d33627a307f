"""Threads: how many, where none, and what forks, interrupts, failures and exit leave behind."""

import importlib.util
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import pytest

import gridgrad
from gridgrad import GridError, GridTypeError
from gridgrad.engines import jobs, staging, threads

BIG = (5, 200, 131)  # above the size at which threads begin
LIMIT = 60  # seconds after which a program hangs


@pytest.fixture(autouse=True)
def _a_number_of_threads_and_the_old_one_after(monkeypatch):
    monkeypatch.setattr(jobs, "SERIAL", 1 << 16)
    before = gridgrad.get_num_threads()
    gridgrad.set_num_threads(4)
    yield
    gridgrad.set_num_threads(before)


def program(text: str, *arguments: Any, **environment: str) -> str:
    """What a fresh interpreter prints, which must end well and say nothing on stderr."""
    kept = {k: v for k, v in os.environ.items() if k != "GRIDGRAD_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**kept, **environment},
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    assert done.stderr == ""
    return done.stdout.strip()


# How many


def test_setting_and_getting():
    for n in (1, 2, 7, 1000):
        gridgrad.set_num_threads(n)
        assert gridgrad.get_num_threads() == n
        assert threads.threads_here() == n


@pytest.mark.parametrize("n", [0, -1, -(10**30)])
def test_too_few(n):
    with pytest.raises(GridError, match=rf"threads must be at least 1, but is {n}\.$"):
        gridgrad.set_num_threads(n)
    assert gridgrad.get_num_threads() == 4


@pytest.mark.parametrize("n", [2.0, "2", None, True, [2], 1j])
def test_no_integer(n):
    with pytest.raises(GridTypeError, match=r"threads must be an integer, but is .*\.$"):
        gridgrad.set_num_threads(n)
    assert gridgrad.get_num_threads() == 4


PRINT = "import gridgrad; print(gridgrad.get_num_threads())"


@pytest.mark.parametrize(("given", "number"), [("3", 3), (" 5 ", 5), ("1", 1), ("0012", 12)])
def test_from_the_environment(given, number):
    assert program(PRINT, GRIDGRAD_NUM_THREADS=given) == str(number)


def test_what_is_set_goes_before_the_environment():
    text = "import gridgrad; gridgrad.set_num_threads(2); print(gridgrad.get_num_threads())"
    assert program(text, GRIDGRAD_NUM_THREADS="7") == "2"
    assert program(text, GRIDGRAD_NUM_THREADS="none") == "2"


@pytest.mark.parametrize("given", ["0", "-2", "two", "2.5", "1e3", "2 3"])
def test_a_bad_environment_is_an_error_of_the_first_call(given):
    """Not of the import, which could not be caught where it matters; and of every call."""
    text = """
        import numpy, gridgrad
        small, big = numpy.arange(4.0), numpy.zeros(2_000_000)
        for call in (gridgrad.get_num_threads, lambda: gridgrad.gradient(big)):
            for _ in range(2):
                try:
                    call()
                except gridgrad.GridError as error:
                    print(error)
        """
    said = program(text, GRIDGRAD_NUM_THREADS=given).splitlines()
    assert said == [f"GRIDGRAD_NUM_THREADS must be a positive integer, but is {given!r}."] * 4


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
@pytest.mark.parametrize("given", ["", "  "])
def test_the_default_is_the_cpus_that_this_process_may_use(given):
    usable = len(os.sched_getaffinity(0))
    assert 1 <= int(program(PRINT, GRIDGRAD_NUM_THREADS=given)) <= usable
    one = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {PRINT}"
    assert program(one) == "1"


@pytest.mark.parametrize(
    ("quota", "number"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("", 8)],
)
def test_a_container_may_use_fewer(quota, number):
    with (
        mock.patch.object(os, "sched_getaffinity", create=True, return_value=set(range(8))),
        mock.patch("builtins.open", mock.mock_open(read_data=quota)),
    ):
        assert threads._usable_cpus() == number


# Sharing


class Recorder:
    """Work that notes which thread did what; `act` is called for each task."""

    def __init__(self, act=lambda task: None) -> None:
        self.act, self.done, self.running = act, [], 0
        self.lock = threading.Lock()

    def __call__(self, tasks) -> None:
        for task in tasks:
            with self.lock:
                self.running += 1
            try:
                self.act(task)
                with self.lock:
                    self.done.append((task, threading.current_thread()))
            finally:
                with self.lock:
                    self.running -= 1

    @property
    def tasks(self) -> list:
        return sorted(task for task, _ in self.done)


@pytest.mark.parametrize("number", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_every_task_is_done_once(number, count):
    work = Recorder(lambda task: time.sleep(0.0002))
    threads.share(work, list(range(count)), number)
    assert work.tasks == list(range(count))
    assert len({thread for _, thread in work.done}) <= number


def test_several_threads_take_part():
    meet = threading.Barrier(3, timeout=LIMIT)
    work = Recorder(lambda task: meet.wait())
    threads.share(work, [0, 1, 2], 3)
    assert len({thread for _, thread in work.done}) == 3


def test_a_busy_pool_delays_nobody():
    free = threading.Event()
    with ThreadPoolExecutor(1) as caller:
        blocker = caller.submit(
            threads.share, Recorder(lambda task: free.wait(LIMIT)), list(range(8)), 8
        )
        time.sleep(0.05)
        work = Recorder()
        threads.share(work, list(range(20)), 4)
        assert work.tasks == list(range(20))
        free.set()
        blocker.result()


class Trouble(Exception):
    pass


@pytest.mark.parametrize("who", ["the caller", "a worker"])
@pytest.mark.parametrize("what", [Trouble, KeyboardInterrupt, SystemExit])
def test_an_exception_propagates_and_leaves_nothing_running(who, what):
    meet = threading.Barrier(2, timeout=LIMIT)

    def act(task):
        if task < 2:
            meet.wait()
            if (threading.current_thread() is threading.main_thread()) == (who == "the caller"):
                raise what("here")
            time.sleep(0.05)

    work = Recorder(act)
    with pytest.raises(what, match="here"):
        threads.share(work, list(range(1000)), 2)
    assert work.running == 0
    done = len(work.done)
    time.sleep(0.05)
    assert len(work.done) == done
    good = Recorder()
    threads.share(good, list(range(50)), 2)
    assert good.tasks == list(range(50))


def test_an_interrupt_while_waiting_left_the_others_running():
    """They write into memory that the caller owns; the caller's part was done, theirs was not."""
    text = """
        import os, signal, threading, time
        from gridgrad.engines import threads
        begun, running = threading.Event(), []
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell's &

        def work(tasks):
            for task in tasks:
                if threading.current_thread() is threading.main_thread():
                    begun.wait()
                    continue
                running.append(task)
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
                begun.set()
                time.sleep(0.9)
                running.pop()

        try:
            threads.share(work, list(range(2)), 2)
        except KeyboardInterrupt:
            print("interrupted", len(running))
        """
    assert program(text) == "interrupted 0"


def test_a_pool_that_fails_between_two_submissions_lost_the_first():
    """Another thread may have replaced the pool by a larger one just then, or no thread is left."""
    real = ThreadPoolExecutor(4)
    submitted = []

    class Failing:
        def submit(self, *arguments):
            if submitted:
                raise RuntimeError("cannot schedule new futures after shutdown")
            submitted.append(real.submit(*arguments))
            return submitted[0]

    meet = threading.Event()

    def act(task):
        if threading.current_thread() is threading.main_thread():
            meet.wait(LIMIT)
        else:
            meet.set()
            time.sleep(0.2)

    work = Recorder(act)
    with real, mock.patch.object(threads, "_the_pool", return_value=Failing()):
        threads.share(work, list(range(4)), 4)
        tasks = work.tasks
    assert tasks == list(range(4)), "the call returned before its work was done"


def test_no_thread_can_be_started():
    """The pool keeps the task in its queue all the same, and an older thread of it may take it up."""
    started = []
    real = threading.Thread.start

    def start(self):
        started.append(self)
        if len(started) > 1:
            raise RuntimeError("can't start new thread")
        real(self)

    def act(task):
        if threading.current_thread() is threading.main_thread():
            time.sleep(0.01)
        else:
            time.sleep(0.1)

    work = Recorder(act)
    with (
        mock.patch.object(threads, "_pool", None),
        mock.patch.object(threads, "_pool_size", 0),
        mock.patch.object(threading.Thread, "start", start),
    ):
        threads.share(work, list(range(6)), 4)
        tasks, running = work.tasks, work.running
        threads._pool.shutdown()
    assert (tasks, running) == (list(range(6)), 0)
    assert len(started) > 1


def a_field(dtype: str = "float32") -> tuple[Any, list[Any]]:
    """Samples, and their gradient as one thread computes it."""
    f = np.random.default_rng(1).standard_normal(BIG).astype(dtype)
    gridgrad.set_num_threads(1)
    expected = gridgrad.gradient(f)
    gridgrad.set_num_threads(4)
    return f, expected


@pytest.mark.parametrize("bad", [0, 7])
def test_an_error_inside_the_engine_reaches_the_caller(bad):
    f = np.random.default_rng(1).integers(0, 100, 300_000)
    calls = []
    real = staging._load

    def load(target, source):
        calls.append(1)
        if len(calls) == bad + 1:
            raise MemoryError("no room")
        real(target, source)

    before = f.tobytes()
    with mock.patch.object(staging, "_load", load), pytest.raises(MemoryError, match="no room"):
        gridgrad.gradient(f)
    assert f.tobytes() == before
    (result,) = gridgrad.gradient(f)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, np.gradient(f))


def test_many_threads_call_at_once():
    fields = [a_field(dtype) for dtype in ("float32", "float64", "complex64", "int16")]
    meet = threading.Barrier(16, timeout=LIMIT)

    def calls(k):
        meet.wait()
        for turn in range(6):
            f, expected = fields[(k + turn) % 4]
            before = f.tobytes()
            gridgrad.set_num_threads(1 + (k + turn) % 6)
            for result, want in zip(gridgrad.gradient(f), expected, strict=True):
                assert result.dtype == want.dtype
                assert result.tobytes() == want.tobytes()
            assert f.tobytes() == before

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(calls, k) for k in range(16)]:
            future.result()


# Inside other libraries' workers


def needs(module: str):
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


DASK = """
    import dask, numpy, gridgrad
    from gridgrad.engines import threads
    gridgrad.set_num_threads(4)

    @dask.delayed
    def here(k):
        gridgrad.gradient(numpy.zeros(100_000))
        return threads.threads_here()
    """


@needs("dask")
@pytest.mark.parametrize(
    "how",
    [
        "dask.compute(*tasks, scheduler='threads')",
        "dask.compute(*tasks, scheduler='threads', num_workers=3)",
        "in_a_thread(lambda: dask.compute(*tasks, scheduler='threads'))",
        "dask.compute(*tasks, scheduler='threads', pool=ThreadPoolExecutor(2))",
    ],
    ids=["default pool", "number of workers", "called from a thread", "pool of the caller"],
)
def test_one_thread_inside_dasks_workers(how):
    text = (
        textwrap.dedent(DASK)
        + textwrap.dedent("""
        from concurrent.futures import ThreadPoolExecutor

        def in_a_thread(call):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(call).result()

        tasks = [here(k) for k in range(6)]
        """)
        + f"print(*{how}, threads.threads_here())"
    )
    assert program(text) == "1 1 1 1 1 1 4"


@needs("dask")
def test_all_threads_in_dasks_synchronous_scheduler():
    text = textwrap.dedent(DASK) + "print(*dask.compute(here(0), scheduler='synchronous'))"
    assert program(text) == "4"


@needs("distributed")
def test_one_thread_inside_distributed_workers():
    text = (
        textwrap.dedent(DASK)
        + """
import distributed
options = dict(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None)
with distributed.Client(**options) as client:
    print(*client.gather(client.compute([here(k) for k in range(4)])), threads.threads_here())
"""
    )
    assert program(text) == "1 1 1 1 4"


def test_one_thread_inside_a_dataloaders_workers():
    pytest.importorskip("torch", reason="torch is not installed")
    text = """
        import torch, gridgrad
        from gridgrad.engines import threads
        gridgrad.set_num_threads(4)
        gridgrad.gradient(torch.zeros(1_200_000))  # the pool exists before the fork

        class Fields(torch.utils.data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, k):
                (slope,) = gridgrad.gradient(torch.arange(1_200_000.0) * k)
                assert (slope == k).all()
                return threads.threads_here()

        loader = torch.utils.data.DataLoader(Fields(), num_workers=2, batch_size=1)
        print(*[int(n) for n in loader], threads.threads_here())
        """
    assert program(text) == "1 1 1 1 4"


# Forks, spawned processes and the end

COMPUTE = """
    import atexit, os, sys, threading, time
    import numpy
    import gridgrad

    gridgrad.set_num_threads(4)
    f = numpy.linspace(0, 1, 1_300_000) ** 2
    expected = numpy.gradient(f)

    def right():
        (result,) = gridgrad.gradient(f)
        return bool((result == expected).all())
    """


def with_compute(text: str) -> str:
    return textwrap.dedent(COMPUTE) + textwrap.dedent(text)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@needs_fork
@pytest.mark.parametrize("before", ["right()", "pass"], ids=["pool first", "fork first"])
def test_after_a_fork(before):
    text = f"""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # fork while there are threads
        {before}
        children = []
        for k in range(3):
            child = os.fork()
            if not child:
                grandchild = os.fork() if k == 0 else None
                if grandchild == 0:
                    os._exit(0 if right() else 1)
                good = all(right() for _ in range(3)) and gridgrad.get_num_threads() == 4
                if grandchild:
                    good &= os.waitpid(grandchild, 0)[1] == 0
                os._exit(0 if good else 1)
            children.append(child)
        print(*(os.waitpid(child, 0)[1] for child in children), right())
        """
    assert program(with_compute(text)) == "0 0 0 True"


@needs_fork
def test_a_fork_while_threads_compute():
    """The pool's lock, and its queue's, may be held by a thread that the child does not have."""
    text = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        right()
        sys.setswitchinterval(1e-5)
        stop = threading.Event()

        def keep_busy():
            while not stop.is_set():
                gridgrad.set_num_threads(2 + int(time.monotonic() * 1e6) % 6)
                assert right()

        busy = [threading.Thread(target=keep_busy) for _ in range(4)]
        for thread in busy:
            thread.start()
        status = []
        for _ in range(12):
            child = os.fork()
            if not child:
                os._exit(0 if right() else 1)
            status.append(os.waitpid(child, 0)[1])
        stop.set()
        for thread in busy:
            thread.join()
        print(sum(status))
        """
    assert program(with_compute(text)) == "0"


def test_in_spawned_processes(tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text(
        with_compute("""
        from multiprocessing import get_context

        def call(k):
            return right() and gridgrad.get_num_threads()

        if __name__ == "__main__":
            assert right()
            with get_context("spawn").Pool(2) as pool:
                print(*pool.map(call, range(4)))
        """)
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4 4 4 4\n", "")


@pytest.mark.parametrize("before", ["right()", "pass"], ids=["used before", "first use"])
def test_in_an_exit_handler(before):
    text = f"""
        def last():
            print(right(), right())

        atexit.register(last)
        {before}
        """
    assert program(with_compute(text)) == "True True"


def test_in_a_non_daemon_thread_after_the_main_one_ended():
    text = """
        def last():
            threading.main_thread().join()
            print(right(), right())

        threading.Thread(target=last).start()
        """
    assert program(with_compute(text)) == "True True"


def test_in_a_daemon_thread_while_the_interpreter_ends():
    """Its calls are cut off somewhere, without a word, and those of exit handlers are right."""
    text = """
        def forever():
            while True:
                if not right():
                    os._exit(3)

        def last():
            print(right())
            time.sleep(0.1)

        atexit.register(last)
        right()
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.1)
        """
    assert program(with_compute(text)) == "True"
