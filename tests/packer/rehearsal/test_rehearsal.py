"""The rehearsal in real namespaces: a small bundle green and red, and a room in which each forbidden thing is tried."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
import psutil
import pytest
from rich.console import Console

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from packer.datasets.contents import ContentsError
from packer.datasets.rules import DatasetError, check_files
from packer.rehearsal import image_python, rehearse, sandbox
from packer.rehearsal.sandbox import RehearsalError, Sandbox, Stay
from packer.rehearsal.violations import summary
from packer.wheels import images
from tests import kernel_inputs, packing
from tests.runs import copy_plain_notebooks
from tests.wheelmaker import make_wheel

try:
    STRACE, WHY_NOT = sandbox.check_host(), ""
except RehearsalError as error:
    STRACE, WHY_NOT = False, str(error)
needs_namespaces = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
FACTS = f"""python = "{sys.version.partition(" ")[0]}"
abi = "cp{sys.version_info.major}{sys.version_info.minor}"
machine = "{os.uname().machine}"
glibc = "2.35"
extras = []
seen = "never: for tests"
"""
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}
LIBRARY = Path(sysconfig.get_path("stdlib"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project with a config of TF-IDF alone, and wheels through which the room finds this environment's packages.

    What stands for the image is installed from empty wheels of the same names.
    """
    folder = packing.make_project(tmp_path_factory.mktemp("rehearsed") / "project")
    shutil.copy(ROOT / "kernel-metadata.json", folder)
    shutil.copytree(ROOT / "profiles", folder / "profiles", dirs_exist_ok=True)
    copy_plain_notebooks(folder / "notebooks")
    (folder / "configs" / "kernel.toml").write_text(kernel_inputs.CONFIG)
    wheels = folder / "wheels" / packing.IMAGE
    shutil.rmtree(wheels)
    wheels.mkdir()
    wheels.with_suffix(".toml").write_text(FACTS)
    kernel_inputs.make_wheels(wheels)
    for name in image_python.PACKAGES:
        requires = ["everything"] if name == "papermill" else []
        make_wheel(wheels, name, version(name), requires, files={})
    packing.lock_files(folder, {path.name.split("-")[0].replace("_", "-"): path for path in wheels.glob("*.whl")})
    return folder


def rehearsed(project: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "packer", "rehearse", "--config", "configs/kernel.toml", "--image", packing.IMAGE]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [*command, *options], cwd=project, env=variables, capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, done.stdout + done.stderr


@needs_namespaces
def test_a_whole_bundle_runs_twice_with_no_network_and_is_compared_with_its_plan(project: Path) -> None:
    code, output = rehearsed(project, "--questions", "5")
    assert code == 0, output
    assert "scoring rerun: every stage succeeded, submission.csv is valid with 15 rows" in output
    assert "planned from the commit run: " in output
    assert f"seen by {'strace' if STRACE else 'an audit hook'}" in output
    steps = [line.split("│")[1].strip() for line in output.splitlines() if line.startswith("│")]
    assert steps.count("retrieve-r1") == steps.count("The checks and the environment") == 2
    left = project / "build" / "rehearsal" / "rerun"
    assert (left / "working" / "__notebook__.ipynb").is_file() and not (left / "working" / "practice").exists()
    assert not (left / "scratch").exists()  # an environment takes gigabytes


@needs_namespaces
def test_what_kaggle_lacks_fails_the_commit_run_and_is_named_with_its_stage(project: Path, tmp_path: Path) -> None:
    broken = tmp_path / "project"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns("build"))
    path = broken / "notebooks" / "retrieve.ipynb"
    notebook = nbformat.read(path, as_version=4)
    source = f"""
import os, time, urllib.request
from contextlib import suppress
with suppress(OSError):
    open("/kaggle/working/large", "wb").write(bytes(5_000_000))
time.sleep(1)
os.remove("/kaggle/working/large")
with suppress(OSError):
    urllib.request.urlopen("https://models.example.org/weights")
with suppress(OSError):
    open({str(ROOT / "pyproject.toml")!r})
import not_vendored
"""
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, path)
    code, output = rehearsed(broken, "--questions", "5", "--limit-working", "4MB")
    assert code == 1, output
    told = [line for line in output.splitlines() if line.startswith("✗ commit run: ")]
    for kind, what in (("network", "models.example.org"), ("read", str(ROOT / "pyproject.toml"))):
        assert any(f"{kind}: " in line and "(retrieve-r1.ipynb)" in line and what in line for line in told), output
    assert any("disk: more was written to /kaggle/working than its limit of 4.0 MB" in line for line in told), output
    missing = "the package of not_vendored is not installed"
    assert any("retrieve-r1" in line and missing in line for line in told), output
    assert any("ended there" in line for line in told) and not any("did not run" in line for line in told), output
    steps = [line.split("│")[1].strip() for line in output.splitlines() if line.startswith("│")]
    assert "retrieve-r1" in steps and "ensemble" not in steps, output
    assert not (broken / "build" / "rehearsal" / "rerun").exists()  # there is nothing more to learn


@needs_namespaces
def test_a_wheel_left_out_is_told_before_anything_runs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "project"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns("build"))
    next((broken / "wheels" / packing.IMAGE).glob("six-*.whl")).unlink()
    monkeypatch.chdir(broken)
    config, image = configs.load(Path("configs/kernel.toml")), images.load(packing.IMAGE)
    with pytest.raises(ContentsError, match=r"has no wheel of six==.*make wheels"):
        rehearse.rehearse(config, image, 5, Console(quiet=True))


# The room.


def stay(tmp_path: Path, source: str, library: Path | None, working: int = 10**7) -> Stay:
    shown = {str(Path(sys.base_prefix)): Path(sys.base_prefix)}
    where = Sandbox(tmp_path / "room", shown, working, library)
    python = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    return sandbox.stay(where, [python, "-c", source], PLAIN, 60.0)


WATCHED = [
    pytest.param(None, id="strace", marks=pytest.mark.skipif(not STRACE, reason="strace is not installed")),
    pytest.param(LIBRARY, id="audit hook"),
]
FORBIDDEN = f"""
import os, socket
from contextlib import suppress
def tried(work, *arguments):
    with suppress(OSError):
        work(*arguments)
tried(socket.create_connection, ("192.0.2.7", 443))
tried(socket.getaddrinfo, "files.example.org", 443)
tried(open, "/etc/cascade", "w")
tried(os.mkdir, "/root/cache")
tried(os.remove, "/usr/bin/env")
tried(open, {str(ROOT / "pyproject.toml")!r})
"""


@needs_namespaces
@pytest.mark.parametrize("library", WATCHED)
def test_each_forbidden_thing_is_told_with_who_tried_it(tmp_path: Path, library: Path | None) -> None:
    done = stay(tmp_path, FORBIDDEN, library)
    told = summary(done.attempts)
    assert done.code == 0, done.output
    targets = [
        "192.0.2.7:443", "the address of files.example.org", "/etc/cascade", "/root/cache", "/usr/bin/env",
        str(ROOT / "pyproject.toml"),
    ]  # fmt: skip
    assert [next((t for t in targets if f" tried {t}: " in line), line) for line in told] == targets
    assert all(" -c import os, socket" in line for line in told)
    assert [line.partition(":")[0] for line in told] == ["network", "network", "write", "write", "write", "read"]
    assert Path("/usr/bin/env").exists()


ALLOWED = """
import json, multiprocessing, os, socket, tempfile
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    pass
one, two = socket.socketpair()
with suppress(OSError):
    socket.socket(socket.AF_UNIX).connect("/var/run/nscd/socket")
socket.getaddrinfo("localhost", 80)
open("kept.txt", "w").write("kept")
os.makedirs(os.path.join(tempfile.mkdtemp(), "deep"))
multiprocessing.Lock()
with suppress(OSError):
    open("/no/such/file/anywhere")
assert os.listdir("/kaggle") == ["working"] and not os.path.exists("/home")
""".replace("import json", "from contextlib import suppress\nimport json")


@needs_namespaces
@pytest.mark.parametrize("library", WATCHED)
def test_what_the_kernel_may_do_is_not_told(tmp_path: Path, library: Path | None) -> None:
    done = stay(tmp_path, ALLOWED, library)
    assert done.code == 0, done.output
    assert done.attempts == []
    assert (done.working / "kept.txt").read_text() == "kept"
    assert not done.full


@needs_namespaces
def test_the_kept_folder_that_was_full_for_a_moment_is_told(tmp_path: Path) -> None:
    source = """
import os, time
try:
    open("large", "wb").write(bytes(2_000_000))
except OSError as error:
    print(error)
time.sleep(1)
os.remove("large")
"""
    done = stay(tmp_path, source, LIBRARY, working=1_000_000)
    assert done.full and "No space left on device" in done.output


@needs_namespaces
def test_nothing_of_a_room_outlives_whoever_began_it(tmp_path: Path) -> None:
    mark = f"print('up', flush=True); import time; time.sleep(300)  # {tmp_path.name}"
    source = f"from tests.packer.rehearsal.test_rehearsal import *; stay(Path({str(tmp_path)!r}), {mark!r}, LIBRARY)"
    began = subprocess.Popen([sys.executable, "-c", source], cwd=ROOT)
    output = tmp_path / "room" / "record" / "output"
    until = time.monotonic() + 60
    while not (output.is_file() and output.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    assert output.read_text() == "up\n"
    began.send_signal(signal.SIGKILL)
    began.wait()
    while alive(str(tmp_path)) and time.monotonic() < until:
        time.sleep(0.1)
    assert alive(str(tmp_path)) == []


def alive(mark: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(mark in word for word in process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@needs_namespaces
def test_a_host_that_forbids_namespaces_gets_one_error_with_the_mend() -> None:
    """Forbidden for real, in a namespace that may have none below it."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    source = "from packer.rehearsal.sandbox import check_host; check_host()"
    command = ["unshare", "-r", "sh", "-c", forbid, "sh", sys.executable, "-c", source]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "RehearsalError: this host forbids user namespaces (unshare: " in last and "sysctl" in last


@needs_namespaces
def test_an_image_with_gpus_and_no_questions_are_refused() -> None:
    config = configs.load(ROOT / "configs" / "sample.toml")
    image = images.load("kaggle-t4x2", ROOT / "wheels")
    with pytest.raises(RehearsalError, match="for 2 GPUs, which a rehearsal does not have; rehearse IMAGE=cpu-linux"):
        rehearse.rehearse(config, image, 5, Console(quiet=True))
    with pytest.raises(RehearsalError, match="--questions: 0 leaves nothing to rehearse"):
        rehearse.rehearse(config, image, 0, Console(quiet=True))


def test_a_limit_is_read_with_its_unit_and_nonsense_is_refused() -> None:
    assert [rehearse.size(text) for text in ("20GB", "300 MB", "1.5k", "7")] == [20 * 10**9, 3 * 10**8, 1500, 7]
    for text in ("", "0", "-1GB", "20 TB", "lots"):
        with pytest.raises(RehearsalError, match="is not a size"):
            rehearse.size(text)


def test_a_local_version_label_and_an_epoch_are_refused_only_where_the_wheel_is_uploaded() -> None:
    for wheel, sign in (("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", r"\+"), ("a-1!2.0-py3-none-any.whl", "!")):
        sizes = {f"wheels/{wheel}": 1}
        check_files("slug", sizes, uploaded=False)
        with pytest.raises(DatasetError, match=f"has '{sign}' in its name"):
            check_files("slug", sizes)
    with pytest.raises(DatasetError, match="has '&' in its name"):
        check_files("slug", {"wheels/a&b+cpu-py3-none-any.whl": 1}, uploaded=False)
