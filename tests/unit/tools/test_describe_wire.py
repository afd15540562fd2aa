"""A part of the wire without a comment is found by its name."""

from __future__ import annotations

from pathlib import Path

from tools.describe_wire import describe, escape, uncommented

PROTO = """
syntax = "proto3";
package edgeconv.v1;

// A thing.
message Thing {
  // Its size in bytes.
  int64 size_bytes = 1;
  int64 silent = 2;
}

// What it may be.
enum Kind {
  KIND_UNSPECIFIED = 0;
}
"""


def test_a_field_and_a_value_without_a_comment_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "edgeconv" / "v1"
    folder.mkdir(parents=True)
    (folder / "things.proto").write_text(PROTO)
    assert sorted(uncommented(tmp_path)) == ["Kind.KIND_UNSPECIFIED", "Thing.silent"]


def test_the_page_names_streams_maps_and_repeated_fields() -> None:
    page = describe()
    assert "| `UploadPart` | stream of UploadPartRequest | UploadPartResponse |" in page
    assert "| `operators` | map of string to int64 |" in page
    assert "| `files` | repeated File |" in page


def test_table_cells_hold_no_bare_bars() -> None:
    assert escape("a|b <c>") == "a\\|b &lt;c>"
