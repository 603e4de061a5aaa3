"""Jobs as tasks of a Ray cluster: placed by cores and GPUs, started again where their node died."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cascade.base import atomic
from cascade.base.errors import StageError
from training.jobs import ray_node
from training.jobs.executors import Executor, Started
from training.jobs.job import Job, contents

LOCAL = "local"
ANSWERS = 30.0  # seconds until a cluster is said not to answer; ray.init itself tries for longer than ten minutes
RESTARTS = 3  # a job whose nodes died more often than that is taken to be what kills them
ENDED = 10.0  # seconds from asking a task to end until its worker is left to the cluster
# Ray connects in C++, where no timeout or signal reaches it: a process of its own can be ended.
TRIAL = "import sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"


@dataclass
class RayCluster(Executor):
    """A cluster by its address (`host:port`, `auto`), or `local` for one of this machine, which ends with the run.

    root: the training's folder. cores: what a job takes where it has no GPU; None: as many as the smallest node has.
    gpus: whether jobs take a GPU each where the cluster has some.
    """

    address: str
    root: Path
    cores: int | None = None
    gpus: bool = True
    share: dict[str, float] = field(init=False, default_factory=dict)
    whole: dict[str, float] = field(init=False, default_factory=dict)
    sends: bool = field(init=False, default=False)  # some node did not see the folder
    _ray: Any = field(init=False, default=None)
    _text: str = field(init=False, default_factory=lambda: secrets.token_hex(16))
    _put: dict[str, Any] = field(init=False, default_factory=dict)
    _version: str = field(init=False, default="")

    def __enter__(self) -> Self:
        """Connects. StageError for Ray that is not installed, and for an address that does not answer in time."""
        self._ray = _imported()
        if self.address != LOCAL:
            _check_answers(self.address)
        try:
            self._ray.init(address=self.address, logging_level="ERROR", log_to_driver=False, **self._own())
        except Exception as error:  # Ray's own has no kind: a busy machine, say, on which it does not start in time
            raise StageError(
                f"Ray does not start here: {str(error).strip().splitlines()[-1]}",
                key=f"--ray {self.address}",
                mend="run it again when the machine has less to do",
            ) from None
        try:
            self._measure()
        except BaseException:
            self._ray.shutdown()
            raise
        self._ray.cloudpickle.register_pickle_by_value(ray_node)
        self._version = ray_node.version(Path.cwd())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_marked():  # else it is another run's, which has the folder
            self._mark.unlink()
        self._ray.shutdown()

    @property
    def places(self) -> int:
        key = "num_gpus" if "num_gpus" in self.share else "num_cpus"
        name = "GPU" if key == "num_gpus" else "CPU"
        return max(1, sum(int(node.get(name, 0) // self.share[key]) for node in self._nodes()))

    def has_place(self, job: Job) -> bool:
        return True  # Ray has the queue, and the order of it

    def start(self, job: Job, log: Path) -> Started:
        log.write_bytes(b"")
        return RayJob(self, job, log)

    def submit(self, job: Job) -> Any:
        """The stream of what a node tells of the job."""
        asked = self.whole if job.whole else self.share
        task = self._ray.remote(num_returns="streaming", max_retries=0, **asked)(ray_node.work)
        return task.remote(self._order(job, int(asked["num_cpus"])))

    def _order(self, job: Job, cores: int) -> ray_node.Order:
        if not self._is_marked():  # a run that was killed leaves its own
            atomic.write_text(self._mark, self._text)
        found = contents((*job.reads, *job.takes))
        reads = {_whole(path): sha256 for path, sha256 in found.items() if Path(path).is_file()}
        return ray_node.Order(
            command=job.command,
            folder=str(Path.cwd()),
            mark=_whole(self._mark),
            text=self._text,
            reads=reads,
            sent={path: self._stored(path, sha256) for path, sha256 in reads.items()} if self.sends else None,
            leaves=tuple(_whole(path) for path in (*job.leaves, *job.also)),
            version=self._version,
            environment={"OMP_NUM_THREADS": str(max(1, cores))},
        )

    def _stored(self, path: str, sha256: str) -> Any:
        if sha256 not in self._put:
            self._put[sha256] = self._ray.put(Path(path).read_bytes())
        return self._put[sha256]

    @property
    def _mark(self) -> Path:
        return self.root / "ray.mark"

    def _is_marked(self) -> bool:
        try:
            return self._mark.read_text(encoding="utf-8") == self._text
        except (OSError, ValueError):
            return False

    def _own(self) -> dict[str, Any]:
        return {"include_dashboard": False} if self.address == LOCAL else {}

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _measure(self) -> None:
        """How much of a node a job takes, and one that takes all devices.

        StageError where no node has that much: Ray itself would wait for such a node for ever.
        """
        nodes = self._nodes()
        if with_gpus := [node for node in nodes if node.get("GPU", 0) >= 1] if self.gpus else []:
            largest = max(with_gpus, key=lambda node: node["GPU"])
            cards, most = int(largest["GPU"]), int(largest.get("CPU", 0))
            cores = self.cores or min(int(node.get("CPU", 0) // node["GPU"]) for node in with_gpus)
            self.share = {"num_gpus": 1, "num_cpus": cores}
            self.whole = {"num_gpus": cards, "num_cpus": min(cores * cards, most)}
            nodes = with_gpus
        else:
            counts = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
            cores = self.cores or min(counts, default=1)
            self.share, self.whole = {"num_cpus": cores}, {"num_cpus": max(counts, default=0)}
        counts = [int(node.get("CPU", 0)) for node in nodes]
        if cores > max(counts, default=0):
            raise StageError(
                f"no node of the cluster has {cores} cores for a job"
                if any(counts)
                else "no node of the cluster has cores",
                key=f"--ray {self.address}",
                mend="pass a smaller --cores" if any(counts) else "start one: ray start --address=HOST:PORT",
            )


@dataclass
class RayJob(Started):
    """A job that the cluster has."""

    cluster: RayCluster
    job: Job
    log: Path
    began: float | None = None
    node: str = ""
    restarts: int = 0
    stream: Any = field(init=False)
    files: dict[str, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.stream = self.cluster.submit(self.job)

    def poll(self) -> int | None:
        ray = self.cluster._ray
        lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError)
        while ray.wait([self.stream], timeout=0)[0]:
            try:
                kind, told = ray.get(next(self.stream))
            except (*lost, ray.exceptions.LocalRayletDiedError) as error:
                return self._again(error)
            except (ray.exceptions.RayError, StopIteration) as error:
                self._say(str(error) or "its task ended without a word")
                return 1
            if (code := self._hear(kind, told)) is not None:
                return code
        return None

    def end(self) -> None:
        ray = self.cluster._ray
        with suppress(ray.exceptions.RayError):
            ray.cancel(self.stream)
            ray.wait([self.stream.completed()], timeout=ENDED)

    def _hear(self, kind: str, told: Any) -> int | None:
        if kind == "began":
            self.began, self.node = time.monotonic(), told
        elif kind == "log":
            with self.log.open("ab") as log:
                log.write(told)
        elif kind == "file":
            self.files[told[0]] = told[1]
        elif kind == "send":
            self.cluster.sends = True
            self.stream = self.cluster.submit(self.job)
        elif kind == "version":
            node, found = told
            raise StageError(
                f"node {node} has another version of the code ({found[:80]})",
                key=f"--ray {self.cluster.address}",
                mend="install this machine's version there and start Ray there again, from that environment",
            )
        elif kind == "ended":
            _take(self.job, self.files)
            return int(told)
        return None

    def _again(self, error: Exception) -> int | None:
        where = f"node {self.node}" if self.node else "its node"
        self._say(f"{where} was lost ({type(error).__name__})")
        self.began, self.node, self.files = None, "", {}
        if self.restarts == RESTARTS:
            self._say(f"{where} was lost, {RESTARTS + 1} times in all")
            return 1
        self.restarts += 1
        self.stream = self.cluster.submit(self.job)
        return None

    def _say(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n{text}\n")


def _whole(path: Path | str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - a link stays one: the node may have it too


def _imported() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise StageError(
            f"requires ray, which is not installed ({error})",
            key="--ray",
            mend=f"run: {sys.executable} -m pip install --constraint constraints.txt ray",
        ) from None
    return ray


def _check_answers(address: str) -> None:
    """StageError where no cluster answers there."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", TRIAL, address], capture_output=True, text=True, timeout=ANSWERS, check=False
        )
    except subprocess.TimeoutExpired:
        why = f"no cluster answered within {ANSWERS:.0f} s"
    else:
        if done.returncode == 0:
            return
        said = [line for line in done.stderr.splitlines() if line.strip()]
        why = f"it cannot be used: {said[-1].strip()[:300] if said else f'exit code {done.returncode}'}"
    raise StageError(
        why,
        key=f"--ray {address}",
        mend="pass host:port of the head node, and make this machine one of its nodes: ray start --num-cpus=0 "
        "--address=HOST:PORT",
    )


def _take(job: Job, files: dict[str, bytes]) -> None:
    """Puts what came back in the place of what lay there."""
    for path in (*job.leaves, *job.also):
        whole = Path(_whole(path))
        own = {name: data for name, data in files.items() if Path(name).is_relative_to(whole)}
        if list(own) == [str(whole)]:
            with atomic.replaced(whole) as partial:
                partial.write_bytes(own[str(whole)])
        elif own:
            _replace_folder(whole, own.items())


def _replace_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """A job's own folder below the training's: its earlier content is what an earlier run of the job left."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    for name, data in files:
        target = new / Path(name).relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
