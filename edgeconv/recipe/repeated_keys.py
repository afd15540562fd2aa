"""Keys that stand twice in a mapping of a YAML text, of which a parser keeps the last only."""

from __future__ import annotations

from dataclasses import dataclass

import yaml


@dataclass(frozen=True)
class RepeatedKey:
    """A key and the lines, from 1, where it stands first and again.

    Attributes:
        path: The key and those above it, joined by dots.
    """

    path: str
    first: int
    again: int


def find_repeated_key(text: str) -> RepeatedKey | None:
    """The first key that stands twice in the same mapping.

    Args:
        text: YAML without aliases, not nested deeply.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return _find(node, ()) if node is not None else None


def _find(node: yaml.Node, above: tuple[str, ...]) -> RepeatedKey | None:
    if isinstance(node, yaml.SequenceNode):
        inside = [(child, (*above, str(place))) for place, child in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        inside = []
        for key, value in node.value:
            path, line = (*above, str(key.value)), key.start_mark.line + 1
            scalar = (key.tag, str(key.value))
            if scalar in lines:
                return RepeatedKey(".".join(path), lines[scalar], line)
            lines[scalar] = line
            inside.append((value, path))
    else:
        return None
    return next((found for each in inside if (found := _find(*each))), None)
