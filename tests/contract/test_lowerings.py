"""What every lowering promises, on every small net, in the real runtime."""

from __future__ import annotations

import pytest
import torch

from edgeconv.analysis.agreement import compare
from edgeconv.base.digests import digest_bytes
from edgeconv.conversion.program import Program
from edgeconv.conversion.verify import open_session
from edgeconv.recipe.signature import Signature
from edgeconv.testing.conversions import (
    FORMATS,
    NETS,
    Format,
    lowered,
    net,
    runtime_outputs,
    samples_for,
    torch_outputs,
)


@pytest.fixture(params=[(name, target) for name in NETS for target in FORMATS], ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, Format]:
    chosen: tuple[str, Format] = request.param
    return chosen


def test_the_file_shows_the_users_signature_to_the_letter(case: tuple[str, Format]) -> None:
    artifact, _ = lowered(*case)
    session = open_session(artifact)
    shown = Signature(inputs=session.inputs, outputs=session.outputs)
    assert net(case[0]).signature.differences(shown) == []
    assert artifact.signature == net(case[0]).signature


def test_it_computes_what_the_program_computes(case: tuple[str, Format]) -> None:
    program = net(case[0])
    samples = samples_for(program)
    expected = torch_outputs(program, samples)
    got = runtime_outputs(lowered(*case)[0], samples)
    for name, reference in expected.items():
        snr = compare(reference, got[name]).snr_db
        assert snr is not None
        assert snr >= 90


def test_the_folder_holds_the_file_and_nothing_else(case: tuple[str, Format]) -> None:
    artifact, _ = lowered(*case)
    assert [path.name for path in artifact.folder.iterdir()] == [f"model.{case[1]}"]


def test_effect_and_lineage_tell_of_the_step(case: tuple[str, Format]) -> None:
    artifact, effect = lowered(*case)
    assert effect.changed > 0
    assert effect.figures["size_bytes"] == artifact.path.stat().st_size
    before = net(case[0]).lineage
    assert artifact.lineage.source == before.source
    assert [step.name for step in artifact.lineage.steps] == [case[1]]
    assert artifact.lineage.steps[-1].effect == effect


def test_nothing_of_the_source_code_is_in_the_file(case: tuple[str, Format]) -> None:
    content = lowered(*case)[0].path.read_bytes()
    for trace in (b"conversions.py", b"stack_trace", b'File "', b"def forward"):
        assert trace not in content


def test_the_program_stays_as_it_was(case: tuple[str, Format]) -> None:
    program = net(case[0])
    before = _digests(program)
    samples = samples_for(program, count=2)
    expected = torch_outputs(program, samples)
    lowered.__wrapped__(*case)
    assert _digests(program) == before
    after = torch_outputs(program, samples)
    for name in expected:
        torch.testing.assert_close(after[name], expected[name], rtol=0, atol=0)


def _digests(program: Program) -> dict[str, str]:
    tensors = {**program.exported.state_dict, **program.exported.constants}
    return {
        name: digest_bytes(tensor.detach().contiguous().numpy().tobytes())
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor)
    }
