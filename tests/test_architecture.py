"""Imports run one way, and the pure modules stay pure."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {
    "app": 3,
    "cli": 3,
    "service": 2,
    "workflows": 2,
    "syncnet_wrapper": 1,
    "efficientnet_detector": 1,
    "frame_extractor": 1,
    "fusion": 1,
    "syncnet_python": 0,
}
OFFLINE = {"evaluation", "training", "benchmarks"}
PURE = [
    "fusion.py",
    *(
        f"syncnet_python/{name}.py"
        for name in (
            "errors",
            "results",
            "tracking",
            "cropping",
            "face_crops",
            "audio_features",
            "mouth",
            "offset",
            "heat_map",
            "quality",
            "score_maps",
            "timeline",
            "speech",
            "doubts",
            "limits",
            "alignment",
            "detectors/s3fd_boxes",
        )
    ),
    "service/jobs/ended.py",
    "service/jobs/records.py",
    "service/request_errors.py",
    "service/responses.py",
    "service/schemas.py",
    "service/streams/records.py",
    "workflows/inspection/overlay.py",
    "workflows/inspection/sheet.py",
    "workflows/long/presets.py",
    "workflows/long/records.py",
    "workflows/stream/events.py",
    "workflows/stream/playlists.py",
]
IMPURE = {"os", "time", "logging", "random", "subprocess", "socket", "httpx", "av", "torch"}


def sources() -> list[Path]:
    folders = [ROOT / name for name in (*LAYERS, *sorted(OFFLINE))]
    files = [f.with_suffix(".py") for f in folders if f.with_suffix(".py").exists()]
    return files + [p for f in folders if f.is_dir() for p in sorted(f.rglob("*.py"))]


def top_of(path: Path) -> str:
    """The name in LAYERS or OFFLINE that a file counts as: its package, or itself."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, *, lazy: bool) -> set[str]:
    """Full names of the modules a file imports; with lazy, those inside functions too."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        if lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes += ast.iter_child_nodes(node)
    return names


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_from_upper_layers_to_lower_ones(path: Path) -> None:
    here = top_of(path)
    for name in imports(path, lazy=True):
        there = name.split(".")[0]
        if there in OFFLINE:
            assert here in OFFLINE or here == "cli", f"{path.name} imports {name}"
            if here == "cli":
                early = imports(path, lazy=False)
                assert name not in early, f"cli/{path.name} must import {name} lazily"
        elif there in LAYERS and here in LAYERS:
            assert LAYERS[there] <= LAYERS[here], f"{path.name} imports {name} from above"


def test_jobs_and_scoring_know_nothing_of_http() -> None:
    """A worker on another machine runs them without Flask, and nothing they use brings it in."""
    script = (
        "import sys, service.jobs.worker, service.scoring.process\n"
        "print(*sorted({'flask', 'werkzeug', 'gunicorn'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []


def test_the_client_stands_alone() -> None:
    """It is installed where nothing else of this project is."""
    for path in sorted((ROOT / "syncnet_client").rglob("*.py")):
        tops = {name.split(".")[0] for name in imports(path, lazy=True)}
        assert not tops & (OFFLINE | LAYERS.keys()), path.name


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_touch_nothing_outside_their_arguments(name: str) -> None:
    tops = {module.split(".")[0] for module in imports(ROOT / name, lazy=True)}
    assert not tops & IMPURE


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in sources()
        if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert silent == []
