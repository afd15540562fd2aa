"""Cases are made smaller while the same becomes of them; messages are taken apart and joined."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile

import onnx
import pytest

from fuzzing.cases import Case, seeds
from fuzzing.outcomes import ACCEPTED, INTERNAL, Outcome
from fuzzing.smaller import smaller
from fuzzing.wire_changes import encoded, fields_of


@pytest.mark.parametrize("name", list(seeds()))
def test_a_message_taken_apart_is_joined_to_the_same_bytes(name: str) -> None:
    data = seeds()[name]().SerializeToString()
    fields = fields_of(data)
    assert fields is not None
    assert encoded(fields) == data


@pytest.mark.parametrize("data", [b"\xff" * 12, b"\x0a\x7f", b"\x00\x00", b"\x0b"])
def test_what_is_no_message_has_no_fields(data: bytes) -> None:
    assert fields_of(data) is None


def test_an_onnx_case_keeps_the_node_that_matters() -> None:
    data = seeds()["convolutional"]().SerializeToString()

    async def run(case: Case) -> Outcome:
        try:
            model = onnx.ModelProto.FromString(case.files["model.onnx"])
        except Exception:
            # What can't be parsed shows nothing.
            return Outcome(ACCEPTED, "inspection")
        found = any(node.op_type == "MaxPool" for node in model.graph.node)
        return Outcome(INTERNAL if found else ACCEPTED, "inspection", "Step 'inspect' failed")

    case, outcome = asyncio.run(smaller(Case("onnx", 1, {"model.onnx": data}, ""), run))
    assert outcome.what == INTERNAL
    assert len(case.files["model.onnx"]) < 40
    assert b"MaxPool" in case.files["model.onnx"]


def test_a_saved_program_keeps_the_entry_that_matters() -> None:
    made = io.BytesIO()
    model = {"graph": {"nodes": [{"name": f"n{place}"} for place in range(40)]}, "other": [1, 2]}
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("model/models/model.json", json.dumps(model))

    async def run(case: Case) -> Outcome:
        with zipfile.ZipFile(io.BytesIO(case.files["model.pt2"])) as archive:
            words = archive.read("model/models/model.json").decode()
        return Outcome(INTERNAL if '"n17"' in words else ACCEPTED, "intake")

    case, _ = asyncio.run(smaller(Case("json", 1, {"model.pt2": made.getvalue()}, ""), run))
    with zipfile.ZipFile(io.BytesIO(case.files["model.pt2"])) as archive:
        left = json.loads(archive.read("model/models/model.json"))
    assert left == {"graph": {"nodes": [{"name": "n17"}]}}
