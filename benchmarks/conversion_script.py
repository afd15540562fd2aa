"""The script that a user would write instead of using the service; ends with the library's work.

The process starts empty, so its imports are part of what it takes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgeconv.conversion.convert import convert
from edgeconv.recipe.schema import parse_recipe


def main() -> int:
    """Converts what the JSON of the first argument names; 1 unless all variants are made."""
    given = json.loads(sys.argv[1])
    shapes = {
        name: [int(size) for size in text.split(",")] for name, text in given["shapes"].items()
    }
    made = convert(
        Path(given["model"]),
        parse_recipe(Path(given["recipe"]).read_text()),
        Path(given["out"]),
        shapes=shapes,
        calibration=Path(given["calibration"]),
        evaluation=Path(given["evaluation"]),
    )
    failed = [f"{variant.name}: {variant.error}" for variant in made if variant.error]
    print(*failed, sep="\n", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
