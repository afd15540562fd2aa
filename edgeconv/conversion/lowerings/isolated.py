"""A program's module with tensors of its own, for converters that can't be trusted with it."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import ExportedProgram


def isolated_module(exported: ExportedProgram) -> nn.Module:
    """The program as a module whose every tensor is a contiguous copy.

    litert-torch 0.10 keys its constants by the address of a copy that it has already
    freed: constants that are not contiguous, or share memory, get each other's values.
    And it changes the tensors it is given in place, -inf to the least float.
    """
    module: nn.Module = exported.module(check_guards=False)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(_own(parameter), requires_grad=False))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, _own(buffer))
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor):
                setattr(part, name, _own(value))
    return module


def _own(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)
