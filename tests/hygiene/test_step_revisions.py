"""A step's code does not change without the question whether its revision must be raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import step_revisions


def test_every_step_is_as_it_was_when_its_revision_was_kept() -> None:
    told = " ".join(step_revisions.stale())
    assert not told, f"{told} Then run `python -m tools.step_revisions`."


@pytest.mark.parametrize(
    ("old", "new", "is_told"),
    [
        ("return 1", "return 2", True),
        ("return 1", "return  1  # why", False),
        ('"""Words."""', '"""Other words."""', False),
        ("def made", "def make", True),
    ],
)
def test_words_do_not_count_and_code_does(
    old: str, new: str, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = '"""Words."""\nfrom edgeconv.conversion import deep\n\n\ndef made():\n    return 1\n'
    folder = tmp_path / "edgeconv" / "conversion"
    folder.mkdir(parents=True)
    monkeypatch.setattr(step_revisions, "ROOT", tmp_path)
    monkeypatch.setattr(step_revisions, "TARGET", tmp_path / "kept.json")
    monkeypatch.setattr(step_revisions, "IMPLEMENTATIONS", {})
    entries = dict.fromkeys(step_revisions._ENTRIES, "edgeconv.conversion.verify")
    monkeypatch.setattr(step_revisions, "_ENTRIES", entries)
    specs = [spec for spec in step_revisions.SPECS if spec.name == "verify"]
    monkeypatch.setattr(step_revisions, "SPECS", specs)
    monkeypatch.setattr("sys.argv", ["step_revisions"])
    for name in ("verify", "deep"):
        (folder / f"{name}.py").write_text(code)
    assert step_revisions.main() == 0
    assert step_revisions.stale() == []
    # The file that the step imports counts as its own does.
    (folder / "deep.py").write_text(code.replace(old, new))
    assert bool(step_revisions.stale()) is is_told
