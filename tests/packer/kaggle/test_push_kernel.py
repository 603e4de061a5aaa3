import json
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config.schema import load
from cascade.run.parameters import declared_parameters
from packer.__main__ import app
from packer.datasets import staging
from packer.kaggle import kernel, push, sources, state
from packer.kaggle.kernel import KernelError
from packer.kaggle.session import KaggleError, Session
from packer.wheels import images
from tests.kaggle_server import CutError, RefusalError
from tests.kaggle_server.datasets import STATUS
from tests.kaggle_server.kernels import GET, SAVE, Version
from tests.pushing import COMPETITION, KINDS, MODEL, edit, problems, push_it


def test_what_is_pushed_has_the_login_the_images_facts_and_the_configs_sources(kaggle):
    pushed = push_it()
    body = dict(next(call.body for call in kaggle.requests if call.method == SAVE))
    own = [f"ada/{staging.metadata(kind, images.load('t4')).slug}" for kind in KINDS]
    assert body.pop("text")
    assert body == {
        "slug": "ada/eedi-cascade",
        "newTitle": "Eedi cascade",
        "language": "python",
        "kernelType": "notebook",
        "isPrivate": True,
        "enableGpu": True,
        "enableInternet": False,
        "machineShape": "NvidiaTeslaT4",
        "dockerImage": "gcr.io/kaggle-gpu-images/python@sha256:0123",
        "dockerImagePinningType": "original",
        "datasetDataSources": [*own, "grace/e5"],
        "modelDataSources": [MODEL],
        "competitionDataSources": [COMPETITION],
    }
    assert (pushed.version, pushed.url) == (1, "https://www.kaggle.com/code/ada/eedi-cascade")
    assert state.last_pushed() == pushed
    assert push_it().version == 2


def test_the_pushed_notebook_runs_the_config_and_is_otherwise_the_tracked_one(kaggle):
    push_it()
    body = next(call.body for call in kaggle.requests if call.method == SAVE)
    sent = json.loads(body["text"])
    assert all(isinstance(cell["source"], str) for cell in sent["cells"])
    ours = nbformat.read(ROOT / "notebooks" / "submission.ipynb", as_version=4)
    differing = [
        (mine.source, cell["source"]) for mine, cell in zip(ours.cells, sent["cells"], strict=True) if
        mine.source != cell["source"]
    ]  # fmt: skip
    assert len(differing) == 2 and differing[1][1] == EEDI.fallback.rstrip()  # the competition's own cell
    assert 'config: str = "configs/t.toml"' in differing[0][1].splitlines()
    copy = Path("build/kernel/submission.ipynb")
    assert declared_parameters(copy) == declared_parameters(ROOT / "notebooks" / "submission.ipynb")


def test_the_kaggle_client_would_push_the_same_from_that_folder(kaggle):
    from kaggle.api.kaggle_api_extended import KaggleApi

    push_it()
    client = KaggleApi()
    client.authenticate()
    client.kernels_push("build/kernel")
    ours, clients = (dict(call.body) for call in kaggle.requests if call.method == SAVE)
    assert json.loads(ours.pop("text")) == json.loads(clients.pop("text"))
    assert clients.pop("enableTpu") is False
    assert ours == clients


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"title": "Another name"}, "title: Kaggle makes 'another-name' of it, not the id's 'eedi-cascade'"),
        ({"title": "Ee", "id": "ee"}, "title: has 2 characters; Kaggle requires 5 to 50"),
        ({"id": "your-name/eedi-cascade"}, "id: contains the placeholder 'your-name'"),
        ({"id": "grace/eedi-cascade"}, "id: belongs to 'grace' and the login to 'ada'"),
        ({"enable_internet": None}, "enable_internet: is missing"),
        ({"enable_internet": "false"}, 'enable_internet: is "false"; write false'),
        ({"is_private": False}, "is_private: is false; write true"),
        ({"enable_gpu": False}, "enable_gpu: comes from the image's file"),
        ({"code_file": "notebooks/none.ipynb"}, "code_file: notebooks/none.ipynb does not exist"),
        ({"docker_image_pinning_type": "latest"}, 'docker_image_pinning_type: is "latest"; write "original"'),
        ({"machine_shape": "NvidiaTeslaT4"}, "machine_shape: comes from the image's file"),
        ({"dataset_source": []}, r"unknown key 'dataset_source' (did you mean 'dataset_sources'?)"),
        ({"dataset_sources": ["your-name/e5"]}, "dataset_sources: 'your-name/e5' contains a placeholder"),
        (
            {"model_sources": ["qwen-lm/qwen2.5"]},
            "model_sources: 'qwen-lm/qwen2.5' is not a valid name; write it as owner/",
        ),
        ({"competition_sources": []}, "competition_sources: is empty"),
        ({"competition_sources": ["titanic"]}, "competition_sources: titanic is not the config's competition; write"),
        ({"competition_sources": ["c/eedi"]}, "competition_sources: 'c/eedi' is not a valid name"),
    ],
)
def test_a_broken_rule_is_named_with_its_key(project, changes, said):
    assert problems() == []
    edit(**changes)
    found = problems()
    assert len(found) == 1
    assert found[0].startswith("kernel-metadata.json: ")
    assert said in found[0]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("configs/t.toml", "dataset:grace", "dataset:your-name", "put the owner's name at Kaggle for 'your-name'"),
        (
            "configs/t.toml",
            "awq/1",
            "awq",
            "is not a handle; write it as kaggle:owner/model/framework/variation/",
        ),
        ("configs/t.toml", "awq/1", "awq/latest", "is not a handle; write it as kaggle:owner/model/framework"),
        ("configs/t.toml", "grace/e5/e5-folder", "grace/e5/versions/3", "a dataset's newest; remove '/versions/3'"),
        ("configs/t.toml", "grace/e5/e5-folder", "grace//e5", "is not a handle; write it as dataset:owner/slug"),
        ("wheels/t4.toml", "NvidiaTeslaT4", "NvidiaTeslaT5", "has no 'NvidiaTeslaT5' (did you mean 'NvidiaTeslaT4'?)"),
        ("wheels/t4.toml", "NvidiaTeslaT4", "GPU", "has no 'GPU' (it has NvidiaTeslaT4, NvidiaTeslaA100, "),
        (
            "wheels/t4.toml",
            "NvidiaTeslaT4",
            "NvidiaTeslaP100",
            'would run NvidiaTeslaT4 instead; write "NvidiaTeslaT4"',
        ),
        ("wheels/t4.toml", "NvidiaTeslaT4", "TpuV38", 'would run TpuV5E8 instead; write "TpuV5E8"'),
        ("wheels/t4.toml", "NvidiaTeslaT4", "TPUV2256", "is retired, and Kaggle would run a CPU instead; choose"),
        ("notebooks/submission.ipynb", '"kernelspec"', '"gone"', "names no kernel"),
        ("notebooks/submission.ipynb", '"execution_count": null', '"execution_count": 3', "contains outputs"),
    ],
)
def test_a_broken_rule_elsewhere_is_named_with_its_file(project, file, old, new, said):
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))
    found = problems()
    assert found
    assert all(file in problem and said in problem for problem in found)


def test_the_retired_accelerators_are_those_that_the_client_warns_of(kaggle):
    from kaggle.api import kaggle_api_extended

    told = kaggle_api_extended._RETIRED_ACCELERATORS
    assert kernel.RETIRED.keys() == told.keys()
    assert all(instead.removeprefix("a ") in told[name] for name, instead in kernel.RETIRED.items())


def test_a_retired_accelerator_is_not_pushed(kaggle):
    facts = Path("wheels/t4.toml")
    facts.write_text(facts.read_text().replace("NvidiaTeslaT4", "NvidiaTeslaP100"))
    with pytest.raises(KernelError, match="'NvidiaTeslaP100' is retired"):
        push_it()
    assert SAVE not in kaggle.methods()


def test_every_source_that_is_not_ready_is_named_and_nothing_is_pushed(kaggle):
    kaggle.kernels.models.clear()
    kaggle.competitions.entered[COMPETITION] = False
    kaggle.datasets.held["ada/cascade-kernel-code"].versions[-1].polls = 3
    kaggle.datasets.held["ada/cascade-kernel-adapters"].versions[-1].fails = "bad file"
    del kaggle.datasets.held["grace/e5"]
    with pytest.raises(KernelError) as error:
        push_it()
    found = dict(zip(("code", "adapters", "e5", "model", "competition"), error.value.problems, strict=True))
    assert "'ada/cascade-kernel-code': is not ready yet (BLOBS_RECEIVED)" in found["code"]
    assert "'ada/cascade-kernel-adapters': is FAILED" in found["adapters"]
    assert "'grace/e5': nothing of that name" in found["e5"]
    assert f"model_sources: '{MODEL}': nothing of that name" in found["model"]
    assert f"not entered; accept its rules at kaggle.com/competitions/{COMPETITION}/rules" in found["competition"]
    assert SAVE not in kaggle.methods()


@pytest.mark.parametrize("name", ["ada/embeddings", "grace/embeddings"])
def test_a_kernel_whose_output_is_read_is_looked_for_before_the_push(kaggle, name):
    edit(kernel_sources=[name])
    with pytest.raises(KernelError, match=f"kernel_sources: '{name}': nothing of that name .*; correct it in kernel-"):
        push_it()
    assert SAVE not in kaggle.methods()
    kaggle.kernels.kept[name] = [Version()]
    assert push_it().version == 1


@pytest.mark.parametrize("token", ["KGAT_" + "0f" * 16, '{"username": "ada", "key": "' + "0f" * 16 + '"}'])
def test_a_notebook_that_holds_a_token_is_not_pushed(kaggle, token):
    path = Path("notebooks/submission.ipynb")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source += f"\nkey = {token!r}"
    nbformat.write(notebook, path)
    with pytest.raises(KernelError, match=r"submission\.ipynb: line \d+: contains what looks like a Kaggle "):
        push_it()
    assert SAVE not in kaggle.methods()


def test_a_framework_that_kaggle_has_not_is_named(kaggle):
    named = {key: [] for key in sources.FORMS} | {"model_sources": ["qwen-lm/qwen2.5/transformer/14b-instruct-awq/1"]}
    [problem] = sources.unready(Session(), named)
    assert "no framework is called 'transformer' (did you mean 'transformers'?)" in problem


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"invalidDatasetSources": ["grace/e5"]}, "no such datasets, or not open to this login: grace/e5"),
        ({"invalidModelSources": [MODEL]}, f"no such models, or their licence is not accepted: {MODEL}"),
        ({"invalidCompetitionSources": [COMPETITION]}, f"no such competitions, or not entered: {COMPETITION}"),
        ({"invalidKernelSources": ["ada/x", "ada/y"]}, "no such kernels: ada/x, ada/y"),
        ({"invalidTags": ["maths"]}, "no such tags: maths"),
        ({"error": "Maximum batch GPU session count of 2 reached."}, "Maximum batch GPU session count"),
    ],
)
def test_whatever_kaggle_complains_of_in_its_answer_is_a_failure(kaggle, answer, said):
    kaggle.kernels.answer = answer
    with pytest.raises(KernelError, match="ada/eedi-cascade") as error:
        push_it()
    assert len(error.value.problems) == 1
    assert said in error.value.problems[0]
    assert ("nothing was made" if "error" in answer else "version 1 was made without") in error.value.problems[0]
    assert state.recall("state") == {}


@pytest.mark.parametrize(
    "fault",
    [
        CutError(),
        RefusalError(503),
        RefusalError(502),
        {"url": "https://ka"},
        {"versionNumber": "?"},
        [1],
        {"invalidTags": 1},
    ],
    ids=str,
)
def test_a_push_whose_answer_is_lost_is_found_and_not_sent_again(kaggle, fault):
    push_it()
    kaggle.kernels.lost, kaggle.kernels.unseen = fault, 3
    assert push_it().version == 2
    assert kaggle.methods().count(SAVE) == 2


def test_null_is_no_complaint(kaggle):
    kaggle.kernels.answer = dict.fromkeys(["error", *(f"invalid{each}Sources" for each in ("Dataset", "Model"))])
    assert push_it().version == 1
    assert state.last_pushed().version == 1


def test_a_kernel_of_which_kaggle_tells_nothing_is_not_taken_for_a_new_one(kaggle):
    kaggle.handlers[GET] = lambda call: {"metadata": None}
    session = Session(patience=0.0)
    with pytest.raises(KaggleError, match=r"kernel ada/eedi-cascade: .*it has no metadata"):
        push.push_kernel(session, load(Path("configs/t.toml")), images.load("t4"), say=print)
    assert SAVE not in kaggle.methods()


def test_a_version_that_cannot_be_remembered_is_named(kaggle):
    Path("build/kernel/state.json").mkdir(parents=True)
    with pytest.raises(push.MadeError, match=r"version 1 of ada/eedi-cascade was pushed, but .*state\.json: cannot be"):
        push_it()


def test_a_push_whose_answer_is_lost_and_that_lacks_a_source_names_it(kaggle):
    kaggle.kernels.lost, kaggle.kernels.dropped = CutError(), "modelDataSources"
    with pytest.raises(push.MadeError, match=f"version 1 was made, but .* its inputs lack {MODEL}; look"):
        push_it()


def test_a_push_whose_answer_is_lost_has_its_sources_however_kaggle_spells_them(kaggle):
    kaggle.kernels.lost = CutError()
    kaggle.kernels.spelt = lambda name: name.title() + ("/versions/3" if name.count("/") == 1 else "")
    assert push_it().version == 1


def test_handles_are_pushed_in_the_form_that_the_kernel_will_look_for(kaggle):
    for old, new in (("awq/1", "AWQ/01"), ("transformers/14b", "Transformers/14b"), ("grace/e5", "Grace/E5")):
        Path("configs/t.toml").write_text(Path("configs/t.toml").read_text().replace(old, new))
    edit(dataset_sources=["GRACE/e5"], model_sources=[MODEL.replace("qwen2.5", "Qwen2.5")])
    config, tracked = load(Path("configs/t.toml")), kernel.read(Path("kernel-metadata.json"))
    assert problems() == []
    filled = kernel.fill(tracked, config, images.load("t4"), "Ada", ["code"])
    assert filled["dataset_sources"] == ["ada/code", "grace/e5"]
    assert filled["model_sources"] == [MODEL]


def test_a_competition_is_named_as_its_address_writes_it(project):
    edit(competition_sources=["Eedi-Mining-Misconceptions-in-Mathematics"])
    assert problems() == []
    filled = kernel.fill(kernel.read(), load(Path("configs/t.toml")), images.load("t4"), "ada", [])
    assert filled["competition_sources"] == ["Eedi-Mining-Misconceptions-in-Mathematics"]


@pytest.mark.parametrize("fault", [CutError(), RefusalError(500), RefusalError(503)], ids=str)
def test_a_push_that_may_not_have_been_made_is_left_to_the_person(kaggle, fault):
    kaggle.faults[SAVE] = [fault]
    with pytest.raises(push.MadeError, match="no new version of ada/eedi-cascade is listed; look at its page fir"):
        push_it()
    assert kaggle.methods().count(SAVE) == 1


def test_a_network_that_stays_away_after_a_lost_push_does_not_hide_it(kaggle):
    kaggle.faults[SAVE] = [CutError()]
    kaggle.faults[GET] = [RefusalError(404), *[CutError()] * 100]
    session = Session(patience=0.1, pause=0.05)
    with pytest.raises(KernelError, match=r"push of ada/eedi-cascade: Kaggle cannot be reached.*look at its page"):
        push.push_kernel(session, load(Path("configs/t.toml")), images.load("t4"), sleep=lambda _: None)


def test_what_a_push_that_failed_or_was_killed_leaves_is_known_until_the_next_that_is_done(kaggle, monkeypatch):
    push_it()
    assert state.recall(state.ATTEMPT) == {}

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(push, "_request", killed)
        with pytest.raises(KeyboardInterrupt):
            push_it()
    assert state.recall(state.ATTEMPT)["config"] == "configs/t.toml"
    push_it()
    assert state.recall(state.ATTEMPT) == {}


def test_a_push_that_is_refused_says_what_kaggle_said(kaggle):
    kaggle.faults[SAVE] = [RefusalError(409, "The requested title is already in use by a kernel")]
    with pytest.raises(KaggleError, match="answers 409: The requested title is already in use"):
        push_it()


def test_a_busy_kaggle_is_waited_for(kaggle):
    kaggle.faults[STATUS] = [RefusalError(503), CutError()]
    kaggle.faults[SAVE] = [RefusalError(429, "slow down", {"Retry-After": "0"})]
    assert push_it().version == 1


def test_the_command_names_each_problem_on_a_line_of_its_own(kaggle):
    command = ["push-kernel", "--config", "configs/t.toml", "--image", "t4"]
    said = CliRunner().invoke(app, command)
    assert said.stdout == "version 1 of ada/eedi-cascade: https://www.kaggle.com/code/ada/eedi-cascade\n"
    edit(is_private=False, enable_internet=True)
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 1
    assert [line.partition(";")[0] for line in said.stderr.splitlines()] == [
        "kernel-metadata.json: is_private: is false",
        "kernel-metadata.json: enable_internet: is true",
    ]


def test_an_image_without_gpus_makes_a_kernel_without_an_accelerator(project):
    facts = Path("wheels/t4.toml").read_text().replace("gpus = 2\n", "").replace('accelerator = "NvidiaTeslaT4"\n', "")
    Path("wheels/t4.toml").write_text(facts)
    assert problems() == []
    filled = kernel.fill(kernel.read(), load(Path("configs/t.toml")), images.load("t4"), "ada", [])
    assert filled["enable_gpu"] is False and "machine_shape" not in filled


def test_how_long_to_wait_is_refused_where_nothing_waits(project):
    for command in (["push-kernel", "--give-up", "5"], ["submit", "--give-up", "5"]):
        said = CliRunner().invoke(app, command, standalone_mode=False)
        assert isinstance(said.exception, StageError) and "--wait" in said.exception.mend
