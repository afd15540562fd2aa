"""The catalogue: every file is whole, and devices find their kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.catalog.capabilities import Capabilities
from edgeconv.catalog.kinds import DeviceKind, kinds, match, parse_kind, read_kinds

DEVICES = {
    "raspberry-pi-4": Capabilities(
        architecture="aarch64", cpu="Raspberry Pi 4 Model B Rev 1.4", os="Debian GNU/Linux 12"
    ),
    "raspberry-pi-5": Capabilities(
        architecture="aarch64", cpu="Raspberry Pi 5 Model B Rev 1.0", os="Debian GNU/Linux 12"
    ),
    "raspberry-pi-3": Capabilities(
        architecture="armv7l", cpu="Raspberry Pi 3 Model B Plus Rev 1.3", os="Raspbian 11"
    ),
    "raspberry-pi-zero-2w": Capabilities(
        architecture="aarch64", cpu="Raspberry Pi Zero 2 W Rev 1.0", os="Debian GNU/Linux 12"
    ),
    "google-pixel-8": Capabilities(architecture="aarch64", cpu="Pixel 8", os="Android 15"),
    "generic-android": Capabilities(architecture="aarch64", cpu="SM-S911B", os="Android 14"),
    "generic-x86_64": Capabilities(architecture="x86_64", cpu="AMD EPYC 7B13", os="Ubuntu 24.04"),
    "generic-aarch64": Capabilities(architecture="aarch64", cpu="Neoverse-N1", os="Debian 12"),
    "generic-armv7l": Capabilities(architecture="armv7l", cpu="ARMv7 rev 3", os="Debian 12"),
}


@pytest.mark.parametrize("kind", DEVICES)
def test_a_device_finds_its_kind(kind: str) -> None:
    assert match(DEVICES[kind]) == kind


def test_every_kind_has_a_device_here() -> None:
    assert {kind.name for kind in kinds()} == set(DEVICES)


def test_a_device_of_no_kind_has_none() -> None:
    assert match(Capabilities(architecture="riscv64", cpu="U74", os="Debian 13")) == ""


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_facts_have_sources(kind: DeviceKind) -> None:
    stated = kind.facts.model_dump(exclude_defaults=True, exclude={"notes"})
    assert kind.sources or not stated


def test_between_equals_there_is_no_choice() -> None:
    texts = [f'name="{n}"\ntitle="t"\n[match]\narchitecture=["x86_64"]\ncpu="A"' for n in "ab"]
    twins = [parse_kind(text, f"{name}.toml") for text, name in zip(texts, "ab", strict=True)]
    assert match(Capabilities(architecture="x86_64", cpu="A"), twins) == ""
    assert match(Capabilities(architecture="x86_64", cpu="A"), twins[:1]) == "a"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name=", "a.toml"),
        ('name="a"\ntitle="t"', "match"),
        ('name="a"\ntitle="t"\n[match]', "architecture"),
        ('name="a"\ntitle="t"\n[match]\narchitecture=["x"]\ncpu="("', "cpu"),
        ('name="a"\ntitle="t"\ncolour="red"\n[match]\narchitecture=["x"]', "colour"),
        ('name="b"\ntitle="t"\n[match]\narchitecture=["x"]', "b.toml"),
        ('name="A"\ntitle="t"\n[match]\narchitecture=["x"]', "name"),
        (
            'name="a"\ntitle="t"\nsources=["http://x"]\n[match]\narchitecture=["x"]',
            "sources",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_field(text: str, names: str) -> None:
    with pytest.raises(EdgeconvError, match=names) as caught:
        parse_kind(text, "a.toml")
    assert caught.value.reason is Reason.FIELD_INVALID
    assert "a.toml" in caught.value.message


def test_a_folder_is_read_by_name_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in "ba":
        text = f'name="{name}"\ntitle="t"\n[match]\narchitecture=["x"]'
        (tmp_path / f"{name}.toml").write_text(text)
    (tmp_path / "README.md").write_text("no kind")
    assert [kind.name for kind in read_kinds(tmp_path)] == ["a", "b"]
