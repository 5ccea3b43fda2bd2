"""Functions that the pipeline makes of a container image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import Duration
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map import Batching, ItemShape, ItemSource, Worker
from cdk_distributed_map.local.embedded.assembly import AssemblyError, read_assembly

if TYPE_CHECKING:
    from tests.construct.lab import Lab

DOCKERFILE = """FROM public.ecr.aws/lambda/python:3.13
COPY distmap ${LAMBDA_TASK_ROOT}/distmap
COPY app.py ${LAMBDA_TASK_ROOT}
CMD ["app.handler"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a Dockerfile."""
    made = tmp_path / "worker"
    (made / ".venv").mkdir(parents=True)
    (made / ".venv" / "large").write_text("x")
    (made / "notes").mkdir()
    (made / "notes" / "secret.txt").write_text("x")
    (made / "Dockerfile").write_text(DOCKERFILE)
    (made / "app.py").write_text("from distmap import process_items\n")
    return made


def worker_of(lab: Lab, worker: Worker, **options: Any) -> dict[str, Any]:
    """Return the properties of a worker's function."""
    function = lab.pipeline(worker=worker, **options).worker
    logical_id = lab.stack.get_logical_id(function.node.default_child)  # type: ignore[arg-type]  # a CfnFunction
    properties: dict[str, Any] = lab.template()["Resources"][logical_id]["Properties"]
    return properties


def images(lab: Lab) -> dict[str, dict[str, Any]]:
    """Return the images that are built when the app is deployed, by their hashes."""
    folder = Path(lab.app.synth().directory)
    manifest = json.loads(next(folder.glob("*.assets.json")).read_text())
    found: dict[str, dict[str, Any]] = manifest["dockerImages"]
    return {key: {**each["source"], "folder": folder / each["source"]["directory"]} for key, each in found.items()}


def test_a_function_runs_the_image_of_a_folder(lab: Lab, folder: Path) -> None:
    properties = worker_of(lab, Worker.image(str(folder), memory_size=1024, timeout=Duration.minutes(5)))

    assert properties["PackageType"] == "Image"
    assert properties["Architectures"] == ["arm64"]
    assert (properties["MemorySize"], properties["Timeout"]) == (1024, 300)
    assert not {"Runtime", "Handler", "Layers"} & properties.keys()
    (image,) = images(lab).values()
    assert image["platform"] == "linux/arm64"


@pytest.mark.parametrize(
    ("ignored", "expected"),
    [
        (None, {"Dockerfile", "app.py", "notes/secret.txt"}),
        ("notes\n", {"Dockerfile", "app.py"}),
        ("*\n!app.py\n", {"Dockerfile", "app.py"}),
    ],
    ids=["nothing", "a folder", "all but one"],
)
def test_the_runtime_is_beside_the_dockerfile_whatever_is_ignored(
    lab: Lab, folder: Path, ignored: str | None, expected: set[str]
) -> None:
    if ignored is not None:
        (folder / ".dockerignore").write_text(ignored)
    lab.pipeline(worker=Worker.image(str(folder)))
    (image,) = images(lab).values()

    found = {path.relative_to(image["folder"]).as_posix() for path in image["folder"].rglob("*") if path.is_file()}
    assert "distmap/__init__.py" in found
    assert {name for name in found if not name.startswith((".", "distmap/"))} == expected
    assert not any(name.startswith((".venv", "distmap/__pycache__")) for name in found)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".venv", "Dockerfile", "app.py", "notes", *([".dockerignore"] if ignored is not None else [])]
    )


def test_the_hash_is_that_of_the_content(new_lab: Any, folder: Path) -> None:
    def hashed() -> list[str]:
        lab = new_lab()
        lab.pipeline(worker=Worker.image(str(folder)))
        return list(images(lab))

    first = hashed()
    assert hashed() == first
    (folder / "app.py").write_text("changed = True\n")
    assert hashed() != first


def test_an_image_is_built_for_the_function_s_architecture(lab: Lab, folder: Path) -> None:
    properties = worker_of(lab, Worker.image(str(folder), architecture=lambda_.Architecture.X86_64))

    assert properties["Architectures"] == ["x86_64"]
    (image,) = images(lab).values()
    assert image["platform"] == "linux/amd64"


def test_a_function_runs_an_image_of_a_repository(lab: Lab) -> None:
    repository = ecr.Repository.from_repository_name(lab.stack, "Repository", "workers")
    image = lambda_.DockerImageCode.from_ecr(repository, tag_or_digest=f"sha256:{'ab' * 32}")
    properties = worker_of(lab, Worker.image(image, environment={"MODEL": "small"}), max_concurrency=40)

    assert json.dumps(properties["Code"]["ImageUri"]).endswith(f'/workers@sha256:{"ab" * 32}"]]}}')
    assert properties["Environment"] == {"Variables": {"MODEL": "small"}}
    assert properties["ReservedConcurrentExecutions"] == 40


def test_items_come_one_at_a_time_where_nothing_is_said(lab: Lab, folder: Path) -> None:
    single = lab.pipeline("Single", worker=Worker.image(str(folder)))
    batched = lab.pipeline("Batched", worker=Worker.image(str(folder)), batching=Batching(max_items=10))

    assert "ItemBatcher" not in lab.state(single, "map")
    assert lab.state(batched, "map")["ItemBatcher"]["MaxItemsPerBatch"] == 10


def test_an_image_of_another_language_gets_bare_items(lab: Lab, folder: Path) -> None:
    bare = lab.pipeline(worker=Worker.image(str(folder), item_shape=ItemShape.BARE))

    assert "ItemSelector" not in lab.state(bare, "map")


def test_an_image_is_the_worker_of_a_nested_map(lab: Lab, folder: Path) -> None:
    inner = Worker.nested(items=ItemSource.state_array("$.value"), worker=Worker.image(str(folder)), max_concurrency=2)
    lab.pipeline(worker=inner, max_concurrency=3)

    (function,) = [
        each["Properties"]
        for each in lab.resources("AWS::Lambda::Function").values()
        if each["Properties"].get("PackageType") == "Image"
    ]
    assert function["ReservedConcurrentExecutions"] == 6


def test_fails_when_the_folder_has_no_dockerfile(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no Dockerfile: name the folder that holds it, or give an image"):
        Worker.image(str(tmp_path))


def test_fails_when_the_folder_holds_what_the_runtime_is_called(folder: Path) -> None:
    (folder / "distmap").mkdir()
    with pytest.raises(ValueError, match="holds 'distmap', the name under which the runtime module is put"):
        Worker.image(str(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_size": 64}, "memory_size must be .* got 64"),
        ({"timeout": Duration.minutes(20)}, r"timeout must be .* got 1,?200"),
        ({"environment": {"AWS_REGION": "x"}}, "must not set 'AWS_REGION'"),
    ],
    ids=["memory", "timeout", "environment"],
)
def test_fails_when_lambda_would_refuse_the_function(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Worker.image(str(folder), **options)


def test_fails_when_an_image_would_run_locally(lab: Lab, folder: Path) -> None:
    lab.pipeline(worker=Worker.image(str(folder)))
    with pytest.raises(AssemblyError, match="container images, which do not run locally: use functions from zip files"):
        read_assembly(Path(lab.app.synth().directory))
