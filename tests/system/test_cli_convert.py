"""`edgeconv convert` and the nouns around it, as a user runs them: real processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.base.digests import digest_file
from edgeconv.base.state_folder import StateFolder, read_endpoint
from edgeconv.cli.documents import DOCUMENTS
from edgeconv.results.job import JobResult
from edgeconv.testing.tiny_files import write_dense_onnx

_LIMIT_S = 240


def _command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgeconv", *map(str, words)]


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("EDGECONV_SERVER", "EDGECONV_TOKEN", "EDGECONV_STATE"):
            patch.delenv(name, raising=False)
        yield


class Service:
    """A running `edgeconv up` and what is said to it."""

    def __init__(self, state: Path, folder: Path) -> None:
        self.state = state
        self.folder = folder

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A command on this service, in a folder of its own."""
        return subprocess.run(
            [*_command(*words), "--state", str(self.state)],
            cwd=self.folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
        )  # fmt: skip

    def read(self, *words: str | Path) -> dict[str, Any]:
        """What a command prints with --json, checked against its published schema."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        names = [" ".join(map(str, words[:2])), str(words[0])]
        model = next(DOCUMENTS[name] for name in names if name in DOCUMENTS)
        model.model_validate(document)
        return document


@contextlib.contextmanager
def _up(state: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        _command("up", "--state", state, "--json"), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            DOCUMENTS["up"].model_validate(ready)
            yield process
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with _up(folder / "state"):
        yield Service(folder / "state", folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dense_onnx(tmp_path_factory.mktemp("model") / "dense.onnx")


_ONNX = ("--target", "onnx", "--precision", "fp32,fp16", "--device", "none")


def test_a_conversion_writes_files_result_and_report(
    service: Service, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    document = service.read("convert", model, *_ONNX, "--out", out)
    result = JobResult.model_validate(document)
    assert result.state == "succeeded"
    assert [variant.path for variant in result.variants] == ["fp32.onnx", "fp16.onnx"]
    for variant in result.variants:
        assert digest_file(out / variant.path) == variant.files[0].digest
    assert JobResult.model_validate_json((out / "result.json").read_bytes()) == result
    assert "<title>models/dense/" in (out / "report.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    # The same folder again is replaced, and what stands there meanwhile is whole.
    service.read("convert", model, *_ONNX, "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    other = Path(shutil.copy(model, tmp_path / "other.onnx"))
    refused = service.run("convert", other, *_ONNX, "--out", out)
    assert refused.returncode == 4, refused.stderr
    assert "other.onnx" in refused.stderr
    assert JobResult.model_validate_json((out / "result.json").read_bytes()).source.endswith(
        model.name
    )


def test_the_files_of_what_lost_its_agreement_are_written_apart(
    service: Service, model: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "targets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16, min_snr_db: 250}}\n"
    )
    out = tmp_path / "out"
    done = service.run(
        "convert", model, "--recipe", recipe, "--device", "none", "--out", out, "--json"
    )
    result = JobResult.model_validate_json(done.stdout)
    lost = result.variants[1]
    assert (lost.state, lost.path) == ("failed", "failed/fp16.onnx")
    assert digest_file(out / lost.path) == lost.files[0].digest
    assert lost.error is not None
    assert " dB, asked ≥ 250 dB" in lost.error.message
    assert "`failed`" in lost.error.fix


def test_words_go_to_standard_output_and_progress_to_standard_error(
    service: Service, model: Path, tmp_path: Path
) -> None:
    done = service.run("convert", model, *_ONNX, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 variants verified" in done.stdout
    assert str(tmp_path / "out" / "report.html") in done.stdout
    assert "✓" not in done.stdout
    assert "fp16.onnx  verified" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_what_needs_data_is_refused_and_the_rest_is_made(
    service: Service, model: Path, tmp_path: Path
) -> None:
    done = service.run(
        "convert", model, "--target", "onnx", "--precision", "fp32,int8", "--device", "none",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    result = JobResult.model_validate_json(done.stdout)
    refused = {variant.name: variant for variant in result.variants}["int8.onnx"]
    assert refused.state == "refused"
    assert refused.error is not None
    assert refused.error.reason == "DATA_NEEDED"
    assert "--data" in refused.error.fix
    assert (tmp_path / "out" / "fp32.onnx").is_file()
    assert not (tmp_path / "out" / "int8.onnx").exists()


def test_data_by_flag_and_by_recipe(service: Service, model: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).standard_normal((24, 1, 64)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", **{"in/put:0": inputs})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "version: 1\ntargets: [onnx]\ndata: {calibration: samples.npz, evaluation: samples.npz}\n"
        "variants: {small: {precision: int8}}\n"
    )
    by_recipe = service.read(
        "convert", model, "--recipe", recipe, "--device", "none", "--out", tmp_path / "a"
    )
    assert [variant["name"] for variant in by_recipe["variants"]] == ["small.onnx"]
    assert by_recipe["variants"][0]["agreement"]["samples_origin"] == "dataset"
    by_flag = service.read(
        "convert", model, "--target", "onnx", "--precision", "int8", "--device", "none",
        "--data", tmp_path / "samples.npz", "--out", tmp_path / "b",
    )  # fmt: skip
    assert by_flag["variants"][0]["digest"] == by_recipe["variants"][0]["digest"]
    found = service.read("datasets", "list")["datasets"]
    assert len([each for each in found if each["name"].startswith("datasets/samples-")]) == 1
    name = found[0]["name"]
    assert service.read("datasets", "get", name)["samples"] == 24
    (path,) = service.read("datasets", "download", name, "--out", tmp_path / "c")["paths"]
    assert digest_file(Path(path)) == found[0]["files"][0]["digest"]
    assert service.read("datasets", "delete", name)["done"] == "deleted"
    assert service.run("datasets", "get", name).returncode == 4


def test_measuring_here_and_all_that_can_be_asked_about_it(
    service: Service, model: Path, tmp_path: Path
) -> None:
    document = service.read(
        "convert", model, "--target", "onnx", "--precision", "fp32", "--out", tmp_path / "out"
    )
    (benchmark,) = document["variants"][0]["benchmarks"]
    assert (benchmark["state"], benchmark["device"]) == ("succeeded", "devices/local")
    name = document["name"].removeprefix("conversions/")
    assert service.read("jobs", "get", name)["variants"][0]["benchmarks"][0] == benchmark
    assert service.read("jobs", "watch", name)["state"] == "succeeded"
    assert service.read("jobs", "cancel", name)["state"] == "succeeded"
    assert name in service.read("jobs", "list")["jobs"][0]["name"]
    again = service.read("jobs", "download", name, "--out", tmp_path / "again")
    assert (tmp_path / "again" / again["variants"][0]["path"]).is_file()
    listed = service.read("benchmarks", "list", name)["benchmarks"]
    assert [each["name"] for each in listed] == [benchmark["name"]]
    assert service.read("benchmarks", "get", benchmark["name"])["summary"] == benchmark["summary"]
    record = json.loads(service.run("benchmarks", "record", benchmark["name"]).stdout)
    assert record["schema"] == 1
    for form, words in (("markdown", "| fp32 | onnx |"), ("junit", "<testsuites>")):
        report = service.run("jobs", "report", tmp_path / "out" / "result.json", "--form", form)
        assert words in report.stdout, report.stderr


def test_devices(service: Service) -> None:
    device = service.read("devices", "list")["devices"][0]
    assert device["name"] == "devices/local"
    assert set(device["runtimes"]) == {"onnxruntime", "litert"}
    assert service.read("devices", "drain", "local", "--reason", "by\x1b[2Jme")["state"]
    shown = service.run("devices", "get", "local").stdout
    assert "draining" in shown
    assert "\x1b" not in shown
    assert service.read("devices", "resume", "local")["state"] in ("idle", "busy")


def test_models(service: Service, model: Path, tmp_path: Path) -> None:
    uploaded = service.read("models", "upload", model, "--model", "shelf")
    assert uploaded["state"] == "ready"
    assert uploaded["inspection"]["inputs"][0]["name"] == "in/put:0"
    assert service.read("models", "get", "shelf")["name"] == uploaded["name"]
    (path,) = service.read("models", "download", "shelf", "--out", tmp_path)["paths"]
    assert Path(path).read_bytes() == model.read_bytes()
    assert service.run("models", "download", "shelf", "--out", tmp_path).returncode == 4
    assert len(service.read("models", "list", "shelf")["model_versions"]) == 1
    again = service.read("models", "upload", model, "--model", "shelf")
    told = service.run("models", "delete", "shelf")
    assert told.stdout == f"{again['name']} deleted.\n"
    assert f"kept: {uploaded['name']}." in told.stderr
    assert service.read("models", "delete", "shelf")["name"] == uploaded["name"]
    assert service.run("models", "get", "shelf").returncode == 4


@pytest.mark.parametrize(
    ("make", "flags", "code", "words"),
    [
        (lambda data: data[: len(data) // 2], (), 3, "whole"),
        (lambda data: b"not a model", (), 3, ""),
        (lambda data: data, ("--shape", "y=1,2"), 3, "in/put:0"),
        (lambda data: data, ("--precision", "int7"), 2, "int8-dynamic"),
    ],
    ids=["truncated", "no model", "wrong input", "usage"],
)
def test_bad_input_writes_nothing(
    service: Service, model: Path, tmp_path: Path, make: Any, flags: tuple[str, ...], code: int,
    words: str,
) -> None:  # fmt: skip
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(make(model.read_bytes()))
    done = service.run("convert", bad, "--target", "onnx", *flags, "--out", tmp_path / "out")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [(np.zeros((4, 65), np.float32), 3, "'in/put:0'"), (None, 3, "'bad.npz' can't be used")],
    ids=["shape", "no npz"],
)
def test_data_that_does_not_fit_is_refused_before_it_is_sent(
    service: Service, model: Path, tmp_path: Path, values: Any, code: int, words: str
) -> None:
    data = tmp_path / "bad.npz"
    data.write_bytes(b"no npz")
    if values is not None:
        np.savez(data, **{"in/put:0": values})
    done = service.run("convert", model, *_ONNX, "--data", data, "--out", tmp_path / "out")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "ploading bad.npz" not in done.stderr
    names = [each["name"] for each in service.read("datasets", "list")["datasets"]]
    assert not [name for name in names if name.startswith("datasets/bad-")]


def test_an_unknown_key_of_a_recipe_comes_with_the_nearest(
    service: Service, model: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("version: 1\nvariants: {a: {precison: fp16}}\n")
    done = service.run("convert", model, "--recipe", recipe, "--json", "--out", tmp_path / "out")
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["violations"] == [
        ["variants.a.precison", "unknown key 'precison'; did you mean 'precision'?"]
    ]
    assert not (tmp_path / "out").exists()


def _until(stream: Any, words: str) -> str:
    """Reads lines until one holds the words."""
    read = ""
    for line in stream:
        read += line
        if words in line:
            return read
    raise AssertionError(f"{words!r} never came:\n{read}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_job(
    service: Service, model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    # A name of its own: nothing of it is remembered, and TFLite takes seconds.
    own = tmp_path / f"own-{number.name.lower()}.onnx"
    write_dense_onnx(own, features=64 + number, seed=number)
    command = _command("convert", own, "--state", service.state, "--out", tmp_path / "out")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        _until(process.stderr, "✓ intake")
        process.send_signal(number)
        said = process.stderr.read() if process.stderr else ""
    assert process.returncode == 130, said
    assert "Cancelling conversions/" in said
    assert [path.name for path in tmp_path.iterdir()] == [own.name]
    job = service.read("jobs", "list", "--limit", "1")["jobs"][0]
    assert job["model_version"].startswith(f"models/{own.stem}/")
    # The cancel was answered before the command ended; the child's end may follow.
    name = job["name"].removeprefix("conversions/")
    watched = service.run("jobs", "watch", name, "--json")
    assert (watched.returncode, json.loads(watched.stdout)["state"]) == (130, "cancelled")


def test_a_state_folder_has_one_server(service: Service) -> None:
    done = service.run("serve")
    assert done.returncode == 4
    assert "runs a server on" in done.stderr


def test_bench_on_a_device_of_the_server(service: Service, model: Path) -> None:
    document = service.read("bench", model, "--device", "local")
    assert document["summary"]["processes"] == 3
    assert document["record"]["kind"] == "edgeconv.benchmark"


def _gone(state: Path) -> bool:
    """Whether nothing holds the locks of a server and its agent any more."""
    folder = StateFolder(state)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if read_endpoint(state) is None and not _running_on(state):
            return folder.lock.exists()
        time.sleep(0.05)
    return False


def _running_on(state: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if entry.name.isdecimal() and str(state) in command:
                found.append(command)
    return found


def test_with_nothing_running_it_starts_and_ends_its_own_service(
    model: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        _command("convert", model, *_ONNX, "--state", state, "--json"),
        cwd=tmp_path, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dense-edgeconv" / "fp32.onnx").is_file()
    assert _gone(state), _running_on(state)


def test_a_device_that_is_not_there_is_said_at_once(model: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        _command("convert", model, "--device", "nosuch", "--state", state, "--json"),
        cwd=tmp_path, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["reason"] == "NO_DEVICE"
    # The device of the service that the command started itself: it was awaited.
    assert error["metadata"]["registered"] == "devices/local"
    assert not (tmp_path / "dense-edgeconv").exists()


def test_its_own_service_dies_with_it_even_by_kill(model: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = _command("convert", model, "--state", state, "--out", tmp_path / "out")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        _until(process.stderr, "Reading")
        assert read_endpoint(state) is not None
        process.send_signal(signal.SIGKILL)
    assert _gone(state), _running_on(state)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    state = tmp_path / "state"
    with _up(state) as process:
        endpoint = read_endpoint(state)
        assert endpoint is not None
        assert oct(StateFolder(state).token.stat().st_mode & 0o777) == "0o600"
        process.send_signal(number)
        assert process.wait(30) == 0
    assert _gone(state), _running_on(state)
    assert not StateFolder(state).endpoint.exists()


def test_a_remote_server_needs_its_token(service: Service, model: Path, tmp_path: Path) -> None:
    endpoint = read_endpoint(service.state)
    assert endpoint is not None
    words = _command("jobs", "list", "--server", endpoint.address, "--state", tmp_path)
    bare = {key: value for key, value in os.environ.items() if key != "EDGECONV_TOKEN"}
    refused = subprocess.run(words, env=bare, capture_output=True, text=True, check=False)
    assert refused.returncode == 5, refused.stderr
    shown = {**bare, "EDGECONV_TOKEN": endpoint.token}
    assert subprocess.run(words, env=shown, capture_output=True, check=False).returncode == 0


def test_no_server_at_the_address(tmp_path: Path) -> None:
    words = _command("jobs", "list", "--server", "127.0.0.1:9", "--state", tmp_path)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6
    assert "127.0.0.1:9" in done.stderr
