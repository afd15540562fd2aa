"""Names, tokens and what an agent keeps over restarts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.agent.drivers.capabilities import os_title, read_capabilities
from edgeconv.agent.settings import AgentSettings, held_state, name_of_host
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name


@given(st.text())
def test_any_host_gives_a_name_that_the_server_takes(host: str) -> None:
    parse_name(f"devices/{name_of_host(host)}", "devices/*")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Pi5-A", "pi5-a"),
        ("box.lab.example.org", "box"),
        ("Müllers Rechner", "m-llers-rechner"),
        ("", "this-machine"),
        ("---", "this-machine"),
    ],
)
def test_a_host_keeps_what_can_be_kept_of_its_name(host: str, name: str) -> None:
    assert name_of_host(host) == name


def test_a_device_is_named_with_or_without_its_prefix(tmp_path: Path) -> None:
    for device in ("pi5-a", "devices/pi5-a"):
        settings = AgentSettings("127.0.0.1:1", tmp_path, device=device)
        assert settings.device_name() == "devices/pi5-a"
    with pytest.raises(EdgeconvError, match="Pi 5") as caught:
        AgentSettings("127.0.0.1:1", tmp_path, device="Pi 5").device_name()
    assert caught.value.reason is Reason.FIELD_INVALID


def test_the_token_comes_from_the_file_when_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "token"
    settings = AgentSettings("127.0.0.1:1", tmp_path, token="given", token_file=path)
    with pytest.raises(EdgeconvError, match="token"):
        settings.read_token()
    path.write_text("kept\n")
    assert settings.read_token() == "kept"
    assert AgentSettings("127.0.0.1:1", tmp_path, token="given").read_token() == "given"


def test_the_id_is_kept_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    state = tmp_path / "agent"
    with held_state(state) as first:
        pass
    with held_state(state) as second:
        assert second == first
        assert second.place
    for damage in ("", "{", "[]", '{"agent": 3}', '{"agent": ""}'):
        (state / "agent.json").write_text(damage)
        with held_state(state) as third:
            assert re.fullmatch("[0-9a-z]{16}", third.agent)
            assert third.agent != first.agent


def test_a_copied_folder_is_the_same_agent_in_another_place(tmp_path: Path) -> None:
    with held_state(tmp_path / "agent") as first:
        pass
    shutil.copytree(tmp_path / "agent", tmp_path / "copy")
    with held_state(tmp_path / "agent") as again, held_state(tmp_path / "copy") as copied:
        assert again == first
        assert copied.agent == first.agent
        assert copied.place != first.place


def test_the_state_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with held_state(tmp_path / "agent"):
        assert (tmp_path / "agent").stat().st_mode & 0o077 == 0


def test_one_agent_at_a_time(tmp_path: Path) -> None:
    with held_state(tmp_path), pytest.raises(EdgeconvError) as caught, held_state(tmp_path):
        pass
    assert caught.value.reason is Reason.STATE_LOCKED
    with held_state(tmp_path):
        pass


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n', "Debian GNU/Linux 12"),
        ("PRETTY_NAME='Alpine Linux v3.20'", "Alpine Linux v3.20"),
        ("PRETTY_NAME=Arch\n", "Arch"),
        ("NAME=x", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_system_in_words(text: str, title: str) -> None:
    assert os_title(text) == title


def test_this_machine_is_described_whole() -> None:
    able = read_capabilities()
    assert set(able.runtimes) == {"onnxruntime", "litert"}
    assert able.kind
    assert not able.userland_32_bit
