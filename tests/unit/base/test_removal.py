"""Folders that something foreign has filled are removed, and nothing else is touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgeconv.base.removal import remove_folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody's, with one in it."""
    folder = tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("kept")
    (folder / "inner").chmod(0o755)
    folder.chmod(0o755)
    return folder


def _modes(folder: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "inner")]


def test_write_protected_folders_and_their_files_go(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_text("x")
    (folder / "file").write_text("x")
    (folder / "a" / "b").chmod(0o500)
    (folder / "a").chmod(0o000)
    folder.chmod(0o500)
    remove_folder(folder)
    assert not folder.exists()


def test_a_folder_that_is_a_link_goes_and_what_it_leads_to_stays(
    tmp_path: Path, outside: Path
) -> None:
    link = tmp_path / "folder"
    link.symlink_to(outside)
    remove_folder(link)
    assert not os.path.lexists(link)
    assert _modes(outside) == [0o755, 0o755]
    assert (outside / "inner" / "file").read_text() == "kept"


def test_links_in_a_folder_go_and_what_they_lead_to_stays(tmp_path: Path, outside: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    (folder / "deeper" / "link").symlink_to(outside)
    (folder / "deeper" / "nowhere").symlink_to(tmp_path / "nothing")
    remove_folder(folder)
    assert not folder.exists()
    assert _modes(outside) == [0o755, 0o755]
    assert (outside / "inner" / "file").read_text() == "kept"


def test_folders_nested_deeper_than_any_stack_go(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=place)
        deeper = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)
    remove_folder(folder)
    assert not folder.exists()


def test_what_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    remove_folder(tmp_path / "nothing")
    remove_folder(tmp_path / "no" / "folder")


def test_one_that_is_filled_faster_than_it_is_emptied_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    remove_folder(folder, limit_s=-1.0)
    assert folder.exists()
    assert "filled while it is emptied" in caplog.text
