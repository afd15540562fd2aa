"""The archive of a saved program, checked and made clean before torch reads it.

Loading such a file runs code in several ways: pickled weights, sample inputs (always a
pickle), custom and opaque objects, members of older formats, symbolic sizes given to
sympy, guards, structures that name a class, names that become Python source. All of them
are found with zipfile and json alone. What torch is given in the end is a new archive of
what was checked, without sample inputs, guards and stack traces: those are looked at only
to refuse a file that is not what it seems. Texts that torch parses once more, sizes and
structures, are written anew from what was parsed here.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.formats import DAMAGED_ZIP
from edgeconv.conversion.intake.pt2.expressions import expression_written_anew
from edgeconv.conversion.intake.pt2.guards import is_safe_guard
from edgeconv.conversion.intake.pt2.names import check_names
from edgeconv.conversion.intake.pt2.pickles import foreign_names
from edgeconv.conversion.intake.pt2.refusals import LONGEST_PLACE, MODEL, unreadable, unsafe
from edgeconv.conversion.intake.pt2.trees import inputs_written_anew, outputs_written_anew
from edgeconv.conversion.intake.sizes import LARGEST_BYTES

_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_SAMPLES = "data/sample_inputs/model.pt"
_BOOKKEEPING = {
    "archive_format", "archive_version", "byteorder", "version", ".data/version",
    ".data/serialization_id", ".format_version", ".storage_alignment",
}  # fmt: skip
# Of torch from 2.8 on.
_FORMS = {
    "archive_format": re.compile(rb"pt2\Z"), "archive_version": re.compile(rb"[0-9]{1,4}\Z"),
    ".data/version": re.compile(rb"[0-9]{1,4}\s?\Z"), "byteorder": re.compile(rb"little\Z"),
}  # fmt: skip
_KNOWN = {*_BOOKKEEPING, MODEL, _WEIGHTS, _CONSTANTS, _SAMPLES}
_PAYLOAD = re.compile(r"data/(?:weights/weight|constants/tensor)_[0-9]+\Z")
_EXTRA = "extra/"
_TARGET = re.compile(
    # No attribute of Python's objects: torch looks the words up with getattr.
    r"torch\.ops\.aten\.(?:__i?(?:and|or|xor|lshift|rshift)__|(?!__)[A-Za-z0-9_]+)"
    r"\.(?!_)[A-Za-z0-9_]+\Z"
    r"|torch\.ops\.higher_order\.(?:cond|while_loop|wrap_with_set_grad_enabled|wrap_with_autocast)\Z"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_"
    r"|not_)\Z"
    r"|math\.(?:ceil|floor|trunc)\Z"
    r"|torch\.(?:sym_int|sym_float|sym_max|sym_min|sym_not|sym_ite|sym_sum)\Z"
)
# They read or write any file of the machine.
_FORBIDDEN = re.compile(r"torch\.ops\.aten\.(?:from_file|save|warn|_print)\b")
_WIDEST_ITEM = 8
_MOST_MEMBERS = 100_000
_MOST_JSON_BYTES = 1 << 29
# Tensors that share values get copies of their own.
_MOST_COPIES = 64
_MOST_NOTES = 8
_KEPT_METADATA = {"nn_module_stack"}


@dataclass(frozen=True)
class CheckedArchive:
    """A saved program that torch can be given.

    Attributes:
        content: A new archive.
        torch_version: What it was saved by.
        notes: What was left out, sentences.
    """

    content: io.BytesIO
    torch_version: str
    notes: tuple[str, ...]


def check_archive(path: Path) -> CheckedArchive:
    """Reads an archive and gives a clean one.

    Raises:
        EdgeconvError: MODEL_UNREADABLE for what is damaged or not whole, MODEL_UNSAFE for
            what could run code, OPERATOR_UNSUPPORTED for operators outside torch's own.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_extents(archive, path)
            members = _members(archive, path.name)
            return _clean(members, path.name)
    except DAMAGED_ZIP as error:
        raise unreadable(path.name, f"its archive is damaged ({first_words(error)})") from error


def _check_extents(archive: zipfile.ZipFile, path: Path) -> None:
    """Nothing is compressed, so who reads all members holds no more bytes than the file has.

    That is to be looked at: members may lie over each other, in a short file that is read for
    ever.
    """
    entries = archive.infolist()
    if len(entries) > _MOST_MEMBERS:
        raise unreadable(path.name, f"it has {len(entries)} members")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise unreadable(path.name, f"member {entry.filename!r} is compressed")
    claimed, whole = sum(entry.file_size for entry in entries), path.stat().st_size
    if claimed > whole:
        why = f"its members are larger than it is itself, {claimed} bytes in a file of {whole}"
        raise unreadable(path.name, why)


def _members(archive: zipfile.ZipFile, file: str) -> dict[str, bytes]:
    """Contents by name below the archive's root folder; of extra files only the names."""
    members: dict[str, bytes] = {}
    for entry in archive.infolist():
        root, _, name = entry.filename.partition("/")
        if not name or name in members or root != archive.infolist()[0].filename.partition("/")[0]:
            raise unreadable(file, f"member {entry.filename!r} is out of place")
        members[name] = b"" if name.startswith(_EXTRA) else archive.read(entry)
    return members


def _clean(members: dict[str, bytes], file: str) -> CheckedArchive:
    extra = sorted(name for name in members if name.startswith(_EXTRA))
    for name in sorted(members.keys() - set(extra)):
        if name not in _KNOWN and not _PAYLOAD.match(name):
            raise unsafe(name, "", "it is no part of a plain exported program")
    model = _json(members, MODEL, file)
    _check_model(model)
    _check_samples(members.get(_SAMPLES, b""))
    kept = {name: members[name] for name in members if _PAYLOAD.match(name)}
    for config in (_WEIGHTS, _CONSTANTS):
        table = _json(members, config, file)
        _check_payload(table, config, kept, file)
        check_names(table, config)
        kept[config] = json.dumps(table).encode()
    for name, form in _FORMS.items():
        kept[name] = members.get(name, b"")
        if not form.match(kept[name]):
            said = repr(kept[name][:40]) if name in members else "missing"
            raise unreadable(file, f"member {name!r}, which tells the format, is {said}")
    kept[MODEL] = json.dumps(model).encode()
    # torch takes an empty member for no sample inputs.
    kept[_SAMPLES] = b""
    version = str(model.get("torch_version", "unknown"))
    return CheckedArchive(_written(kept), version, tuple(_left_out(extra)))


def _left_out(extra: Sequence[str]) -> Iterator[str]:
    """A sentence about each extra file, as far as anybody would read them."""
    for name in extra[:_MOST_NOTES]:
        shown = name.removeprefix(_EXTRA)
        cut = f"{shown[:LONGEST_PLACE]}…" if len(shown) > LONGEST_PLACE else shown
        yield f"The extra file {cut!r} was left out."
    if len(extra) > _MOST_NOTES:
        yield f"So were {len(extra) - _MOST_NOTES} more extra files."


def _written(members: dict[str, bytes]) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(f"model/{name}", data)
    content.seek(0)
    return content


def _json(members: dict[str, bytes], name: str, file: str) -> dict[str, Any]:
    if name not in members:
        raise unreadable(file, f"member {name!r} is missing")
    if len(members[name]) > _MOST_JSON_BYTES:
        raise unreadable(file, f"member {name!r} has {len(members[name])} bytes of JSON")
    try:
        value = json.loads(members[name])
    except (ValueError, RecursionError) as error:
        raise unreadable(file, f"member {name!r} is no JSON ({first_words(error)})") from error
    if not isinstance(value, dict):
        raise unreadable(file, f"member {name!r} is no JSON object")
    if b"\\u" in members[name]:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise unreadable(file, f"member {name!r} has half a character") from error
    return value


def _check_payload(config: dict[str, Any], name: str, kept: dict[str, bytes], file: str) -> None:
    entries = config.get("config")
    if not isinstance(entries, dict):
        raise unreadable(file, f"member {name!r} has no table of tensors")
    folder = name.rpartition("/")[0]
    for key, entry in entries.items():
        target = f"{folder}/{entry.get('path_name')}" if isinstance(entry, dict) else ""
        if not isinstance(entry, dict) or entry.get("use_pickle") is not False:
            raise unsafe(name, key, "its values are pickled")
        if not _PAYLOAD.match(target):
            raise unsafe(name, key, f"its values stand in {entry.get('path_name')!r}")
        if target not in kept:
            raise unreadable(file, f"the values of {key!r} are missing")
    most = max(LARGEST_BYTES, _MOST_COPIES * sum(len(data) for data in kept.values()))
    if sum(_claimed_bytes(entry.get("tensor_meta")) for entry in entries.values()) > most:
        raise unreadable(file, "its tensors are far larger than their values")


def _claimed_bytes(meta: Any) -> int:
    """Bytes that a tensor would have as a copy of its own; strides may repeat few values."""
    sizes = meta.get("sizes") if isinstance(meta, dict) else None
    if not isinstance(sizes, list):
        return 0
    known = (each.get("as_int") for each in sizes if isinstance(each, dict))
    return _WIDEST_ITEM * math.prod(size for size in known if isinstance(size, int))


def _check_model(model: dict[str, Any]) -> None:
    """Checks the graph and removes what is not needed; changes `model`."""
    _check_guards(model.pop("guards_code", None))
    model["guards_code"] = []
    if isinstance(whole := model.get("graph_module"), dict):
        whole.update(metadata={}, treespec_namedtuple_fields={})
    check_names(model, MODEL)
    for entry in _dicts(model):
        if "expr_str" in entry:
            entry["expr_str"] = _size(str(entry["expr_str"]))
        if "as_custom_obj" in entry or entry.get("custom_obj_values"):
            raise unsafe(MODEL, "custom_obj", "the program uses an object of that kind")
        if "as_operator" in entry:
            _check_target(str(entry["as_operator"]), "as_operator")
        if isinstance(entry.get("target"), str) and "inputs" in entry:
            _check_target(str(entry["target"]), str(entry.get("name") or entry["target"]))
            said = entry.get("metadata")
            metadata = said if isinstance(said, dict) else {}
            entry["metadata"] = {key: metadata[key] for key in _KEPT_METADATA & metadata.keys()}
        # A tensor may be called so, too, and what is no text is nothing that torch parses.
        if isinstance(entry.get("in_spec"), str):
            entry["in_spec"] = inputs_written_anew(entry["in_spec"])
        if isinstance(entry.get("out_spec"), str):
            entry["out_spec"] = outputs_written_anew(entry["out_spec"])


def _size(text: str) -> str:
    written = expression_written_anew(text)
    if written is None:
        raise unsafe(MODEL, text, "as a size it is no plain arithmetic")
    return written


def _check_guards(guards: Any) -> None:
    for guard in guards if isinstance(guards, list) else []:
        if not is_safe_guard(str(guard)):
            raise unsafe(MODEL, str(guard), "as a guard it is no plain comparison")


def _check_samples(saved: bytes) -> None:
    if names := sorted(foreign_names(saved)):
        raise unsafe(_SAMPLES, names[0], "unpickling it would import that, which is no data")


def _check_target(target: str, node: str) -> None:
    if _FORBIDDEN.match(target):
        raise unsafe(MODEL, node, f"the operator {target} reaches outside the program")
    if _TARGET.match(target):
        return
    raise EdgeconvError(
        Reason.OPERATOR_UNSUPPORTED,
        f"Node {node!r} uses {target!r}, which is none of torch's own operators.",
        fix="Export the model with standard torch operators only.",
        node=node,
        operator=target,
    )


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    """All JSON objects in a value, outermost first."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            yield each
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)
