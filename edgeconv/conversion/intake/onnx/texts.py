"""Checks that the texts of an ONNX message are texts."""

from __future__ import annotations

from typing import Any

import onnx

from edgeconv.base.errors import EdgeconvError, Reason


def check_texts(model: onnx.ModelProto, file: str) -> None:
    """Refuses a message with a text that is no UTF-8.

    Protobuf reads such a one without a word, and gives bytes where all who read the field
    look for a string.

    Raises:
        EdgeconvError: MODEL_UNREADABLE naming the field.
    """
    pending: list[Any] = [model]
    while pending:
        message = pending.pop()
        for field, value in message.ListFields():
            if field.type == field.TYPE_MESSAGE:
                pending.extend(value if field.is_repeated else (value,))
            elif field.type == field.TYPE_STRING:
                for text in value if field.is_repeated else (value,):
                    if not isinstance(text, str):
                        raise _no_text(file, f"{message.DESCRIPTOR.name}.{field.name}", text)


def _no_text(file: str, field: str, value: bytes) -> EdgeconvError:
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"{file!r} is not a whole ONNX model: its field {field} holds {value[:40]!r}, which is no"
        " UTF-8 text.",
        fix="Export the model again and send the whole file.",
        file=file,
        field=field,
    )
