"""Commands that need no server, as a user runs them: inspect, bench, doctor, recipes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeconv.cli.documents import DOCUMENTS
from edgeconv.testing.tiny_files import write_dense_onnx, write_dense_tflite


def _run(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "edgeconv", *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _hostile(path: Path) -> Path:
    name = "x\x1b[2J\x1b]0;owned\x07[bold red]\u202e"
    graph = helper.make_graph(
        [helper.make_node("Relu", [name], ["y"], name=name)], "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), str(path))
    return path


def test_inspect_says_what_is_in_a_model(tmp_path: Path) -> None:
    model = write_dense_onnx(tmp_path / "dense.onnx", rows="batch")
    done = _run("inspect", model, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    DOCUMENTS["inspect"].model_validate(document)
    assert document["inspection"]["inputs"] == [
        {"name": "in/put:0", "dtype": "float32", "shape": ["batch", 64]}
    ]
    done = _run("inspect", model, folder=tmp_path)
    assert done.stderr.startswith("Reading dense.onnx …\n")
    words = done.stdout
    assert "Input 'in/put:0' is taken one at a time" in words
    assert "650 parameters" in words
    assert "batch×64" in words
    assert "Gemm 1, Relu 1" in words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense.onnx"]


def test_inspect_ends_a_reading_that_takes_too_long(tmp_path: Path) -> None:
    model = write_dense_onnx(tmp_path / "dense.onnx")
    done = _run("inspect", model, "--inspection-time", "0.006s", folder=tmp_path)
    assert done.returncode != 0
    assert "longer than 0.006 s in inspecting" in done.stderr
    assert "--inspection-time" in done.stderr
    assert "Traceback" not in done.stderr


def test_inspect_reads_weights_beside_the_model(tmp_path: Path) -> None:
    inside = onnx.load(str(write_dense_onnx(tmp_path / "inside.onnx")))
    model = tmp_path / "dense.onnx"
    onnx.save(
        inside, str(model), save_as_external_data=True, location="dense.onnx.data", size_threshold=0
    )
    done = _run("inspect", model, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inspection"]["parameters"] == 650


def test_no_name_of_a_model_acts_on_the_terminal(tmp_path: Path) -> None:
    model = _hostile(tmp_path / "hostile.onnx")
    for flags in ((), ("--json",)):
        done = _run("inspect", model, *flags, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "[bold red]" in done.stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)


@pytest.mark.parametrize("data", [b"", b"garbage"])
def test_what_is_no_model_is_refused_with_what_to_do(tmp_path: Path, data: bytes) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(data)
    done = _run("inspect", bad, folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "bad.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_the_users_does_not_stand_in_for_a_module(tmp_path: Path) -> None:
    (tmp_path / "html.py").write_text("raise SystemExit('a module of the user ran')")
    (tmp_path / "onnx.py").write_text("raise SystemExit('a module of the user ran')")
    model = write_dense_onnx(tmp_path / "dense.onnx")
    done = _run("inspect", model, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_bench_measures_here(tmp_path: Path, suffix: str) -> None:
    write = write_dense_onnx if suffix == "onnx" else write_dense_tflite
    file = write(tmp_path / f"dense.{suffix}")
    done = _run("bench", file, "--threads", "1", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    DOCUMENTS["bench"].model_validate(document)
    summary = document["summary"]
    assert summary["processes"] == 3
    assert {phase["phase"] for phase in summary["phases"]} >= {"import", "cold_load", "steady"}
    assert summary["percentiles"][0]["low_ns"] <= summary["percentiles"][0]["value_ns"]
    assert document["record"]["request"]["threads"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_bench_prints_percentiles_with_n_and_a_verdict(tmp_path: Path) -> None:
    file = write_dense_onnx(tmp_path / "dense.onnx", rows="batch")
    done = _run("bench", file, "--shape", "in/put:0=2,64", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("interval across processes", "p50", "cold load", "peak memory", "stable"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("name", "flags", "code", "words"),
    [
        ("net.coreml", (), 3, "tflite"),
        ("net.onnx", ("--runtime", "tensorrt"), 3, "onnxruntime"),
        ("net.onnx", ("--runtime", "litert"), 3, "litert runs .tflite files, and 'net.onnx'"),
        ("net.onnx", (), 3, "net.onnx"),
        ("net.tflite", (), 3, "net.tflite"),
        ("net.pt2", (), 3, "`edgeconv convert net.pt2` makes files that can"),
        ("net.pt2", ("--device", "any"), 3, "a model's source"),
        ("net.tflite", ("--device", "any"), 4, "no ONNX file"),
        ("net.onnx", ("--device", "any", "--spinning"), 2, "excludes"),
    ],
)
def test_bench_refuses_with_the_reason(
    tmp_path: Path, name: str, flags: tuple[str, ...], code: int, words: str
) -> None:
    # Not text, which is told before all of these.
    (tmp_path / name).write_bytes(b"\0not a model")
    done = _run("bench", name, *flags, folder=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("value", "name", "words"),
    [
        (np.nan, "in/put:0", "inf.npz: Array 'in/put:0' can't be used: it holds NaN or infinity"),
        (1.0, "other", "Name the arrays as the model names its inputs: 'in/put:0'."),
    ],
)
def test_bench_refuses_data_and_names_its_file(
    tmp_path: Path, value: float, name: str, words: str
) -> None:
    file = write_dense_onnx(tmp_path / "dense.onnx")
    np.savez(tmp_path / "inf.npz", **{name: np.full((2, 1, 64), value, np.float32)})
    done = _run("bench", file, "--data", "inf.npz", folder=tmp_path)
    assert done.returncode == 3, done.stdout
    assert words in done.stderr
    assert "inf.npz: " in done.stderr


def test_doctor_finds_this_environment_healthy(tmp_path: Path) -> None:
    done = _run("doctor", "--state", tmp_path / "state", "--json", folder=tmp_path)
    document = json.loads(done.stdout)
    DOCUMENTS["doctor"].model_validate(document)
    failed = [check for check in document["checks"] if check["state"] == "fail"]
    assert (done.returncode, failed) == (0, [])
    words = _run("doctor", "--state", tmp_path / "state", folder=tmp_path).stdout
    assert len([line for line in words.splitlines() if line[:1] in "✓!✗"]) == len(
        document["checks"]
    )


def test_doctor_ends_with_4_when_something_fails(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    done = _run("doctor", "--state", tmp_path / "state" / "below", folder=tmp_path)
    assert done.returncode == 4
    assert "✗ state folder" in done.stdout
    refused = _run("doctor", "--server", "127.0.0.1:9", folder=tmp_path)
    assert refused.returncode == 4
    assert "✗ server" in refused.stdout


def test_recipes_are_checked_and_shown(tmp_path: Path) -> None:
    shown = _run("recipes", "show", "--precision", "fp16", "--prune", "0.5", folder=tmp_path)
    (tmp_path / "recipe.yaml").write_text(shown.stdout)
    assert "prune50-fp16" in shown.stdout
    checked = _run("recipes", "check", "recipe.yaml", folder=tmp_path)
    assert "round_to" not in shown.stdout
    assert checked.returncode == 0, checked.stderr
    assert "round_to: 8" in checked.stdout
    (tmp_path / "recipe.yaml").write_text("version: 1\nvariant: {}\n")
    refused = _run("recipes", "check", "recipe.yaml", folder=tmp_path)
    assert refused.returncode == 3
    assert "did you mean 'variants'" in refused.stderr


def _on_a_terminal(command: list[str], environment: dict[str, str]) -> bytes:
    """What a command prints on a terminal."""
    main_end, its_end = pty.openpty()
    with subprocess.Popen(command, stdout=its_end, stderr=its_end, env=environment) as process:
        os.close(its_end)
        printed = b""
        try:
            while chunk := os.read(main_end, 4096):
                printed += chunk
        except OSError:
            # Linux says so when the other end is closed.
            pass
        process.wait()
    os.close(main_end)
    return printed


@pytest.mark.parametrize("plain", [True, False])
def test_colours_only_on_a_terminal_and_not_with_no_color(tmp_path: Path, plain: bool) -> None:
    command = [sys.executable, "-m", "edgeconv", "doctor", "--state", str(tmp_path)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    if plain:
        environment["NO_COLOR"] = "1"
    printed = _on_a_terminal(command, environment)
    assert "✓".encode() in printed
    assert (b"\x1b[32m" in printed) is not plain


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_as_the_help_says(shell: str, tmp_path: Path) -> None:
    environment = {**os.environ, "_EDGECONV_COMPLETE": f"{shell}_source"}
    edgeconv = Path(sys.executable).with_name("edgeconv")
    done = subprocess.run([edgeconv], env=environment, capture_output=True, text=True, check=False)
    assert "_EDGECONV_COMPLETE" in done.stdout
    environment |= {"_EDGECONV_COMPLETE": "bash_complete", "COMP_WORDS": "edgeconv con",
                    "COMP_CWORD": "1"}  # fmt: skip
    done = subprocess.run([edgeconv], env=environment, capture_output=True, text=True, check=False)
    assert "plain,convert" in done.stdout
