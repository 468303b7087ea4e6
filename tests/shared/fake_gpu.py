"""A GPU without hardware: tensors that say they are on `cuda:0`, hold their numbers on the CPU, and mix with no others.

Within `fake_gpu()`,

    x.to("cuda"), x.cuda(), torch.zeros(3, device="cuda"), module.to("cuda")     make a `GPUTensor`
    f(GPUTensor, Tensor)                                                         raises `DeviceError`, as CUDA does
    x.to("cpu"), x.cpu(), float(x), x.tolist()                                   bring numbers back

What CUDA allows is allowed: CPU scalars (tensors without axes) in pointwise operations, CPU indices, and copies between
devices. What it refuses is refused: a generator of the CPU for draws on the GPU, and `x.numpy()`. The arithmetic is the
CPU's, so results equal those on the CPU to the last bit.

Every operation comes by a dispatch mode. PyTorch itself takes a `GPUTensor` for one of its device `meta`, for which
autograd needs no CUDA, and writes that device where it makes tensors like it; Python code sees `cuda:0`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda:0")
CPU = torch.device("cpu")
META = torch.device("meta")
_REAL_TO = Tensor.to
_REAL_TENSOR, _REAL_AS_TENSOR = torch.tensor, torch.as_tensor

INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
"""Operations whose indices CUDA takes from the CPU."""


class DeviceError(RuntimeError):
    """Tensors on two devices met, where CUDA raises."""


class GPUTensor(Tensor):
    """A tensor that says it is on the GPU.

    Attributes:
        held: its numbers, on the CPU.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> GPUTensor:
        layout: dict[str, Any] = {}
        if held.layout == torch.strided:
            held = torch.zeros(held.shape, dtype=held.dtype) if held._is_zerotensor() else held
            held = held.resolve_conj().resolve_neg()  # the class cannot carry what PyTorch marks for later
            layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        out: GPUTensor = torch.Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=META, **layout)
        out.held = held
        return out

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"GPUTensor({self.held!r})"

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    @property
    def layout(self) -> torch.layout:  # type: ignore[override]
        return self.held.layout

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_indices(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_indices(key), value)

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return self.to(CPU)

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    def __array__(self, *_: Any) -> Any:
        return self.numpy()


def _indices(key: Any) -> Any:
    """Return an index with tensors for lists, which PyTorch would make on its device `meta`, without numbers."""
    if isinstance(key, list):
        return _REAL_TENSOR(key)
    return tuple(_indices(k) for k in key) if isinstance(key, tuple) else key


class _Up(torch.autograd.Function):
    """From the CPU to the GPU, and the gradient back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return GPUTensor(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g.held if isinstance(g, GPUTensor) else g


class _Down(torch.autograd.Function):
    """From the GPU to the CPU, and the gradient back."""

    @staticmethod
    def forward(ctx: Any, x: GPUTensor) -> Tensor:
        return x.held.detach().clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g if isinstance(g, GPUTensor) else GPUTensor(g)


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type in ("cuda", "meta")


def _to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Stand for `Tensor.to`: first to the device, then to the precision or the memory format."""
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    for value in (*args, kwargs.pop("other", None)):
        if isinstance(value, Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, (str, torch.device)):
            device = value
    out = self
    if device is not None and _is_gpu(device) != isinstance(self, GPUTensor):
        out = (_Up if _is_gpu(device) else _Down).apply(self)
    rest = {"dtype": dtype, "memory_format": kwargs.get("memory_format"), "copy": kwargs.get("copy")}
    rest = {k: v for k, v in rest.items() if v}
    return _REAL_TO(out, **rest) if rest else out


def _with_device(make: Any) -> Any:
    """Return `torch.tensor` or `torch.as_tensor` for the devices of this module."""

    def made(data: Any, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> Tensor:
        if isinstance(data, GPUTensor):
            out: Tensor = data if make is _REAL_AS_TENSOR else data.detach().clone()
            out = out if dtype is None else out.to(dtype)
            return out if device is None else out.to(device)
        out = make(data, dtype=dtype, **kwargs)
        return out if device is None else out.to(device)

    return made


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on what the tensors hold, once their devices agree."""
    leaves = tree_flatten((args, kwargs))[0]
    on_gpu = [t for t in leaves if isinstance(t, GPUTensor)]
    on_cpu = [t for t in leaves if isinstance(t, Tensor) and not isinstance(t, GPUTensor)]
    name, device = func._schema.name, kwargs.get("device")
    made_on_gpu = bool(on_gpu) if device is None else _is_gpu(device)
    if any(t.is_meta for t in on_cpu):
        raise NotImplementedError(f"{func}: the fake GPU lost numbers on their way; extend tests/shared/fake_gpu.py")
    _check(func, name, args, on_gpu, on_cpu)
    if kwargs.get("generator") is not None and made_on_gpu:
        raise DeviceError(f"{func}: expected a 'cuda' device type for generator but found 'cpu'")
    held = tree_map(lambda t: t.held if isinstance(t, GPUTensor) else t, (args, kwargs))
    if device is not None:
        held[1]["device"] = CPU
    out = func(*held[0], **held[1])
    if name == "aten::copy_" and not isinstance(args[0], GPUTensor):
        return args[0]
    if not made_on_gpu:
        return out
    out = tree_map(lambda t: GPUTensor(t) if isinstance(t, Tensor) else t, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if on_gpu else out


def _check(func: Any, name: str, args: Any, on_gpu: list[GPUTensor], on_cpu: list[Tensor]) -> None:
    """Raise a `DeviceError` where CUDA would not run the operation."""
    if not on_gpu or not on_cpu or name == "aten::copy_":
        return
    if name in INDEXED and isinstance(args[0], GPUTensor):
        values = args[2:3]
        strange = [v for v in values if isinstance(v, Tensor) and not isinstance(v, GPUTensor) and v.ndim]
    else:
        scalars = torch.Tag.pointwise in func.tags or name in ("aten::fill_", "aten::masked_fill", "aten::masked_fill_")
        strange = [t for t in on_cpu if t.ndim or not scalars]
    written = [a for a, s in zip(args, func._schema.arguments, strict=False) if s.alias_info and s.alias_info.is_write]
    if strange or any(t is a for t in on_cpu for a in written):
        raise DeviceError(
            f"{func}: expected all tensors to be on the same device, found cuda:0 {[tuple(t.shape) for t in on_gpu]} "
            f"and cpu {[tuple(t.shape) for t in on_cpu]}"
        )


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextlib.contextmanager
def fake_gpu() -> Iterator[torch.device]:
    """Give the process a GPU, and yield its device."""
    with contextlib.ExitStack() as stack:
        future = torch.__future__
        stack.callback(
            future.set_overwrite_module_params_on_conversion, future.get_overwrite_module_params_on_conversion()
        )
        future.set_overwrite_module_params_on_conversion(True)  # module.to makes parameters of the new kind
        for owner, name, value in (
            (torch.cuda, "_lazy_init", lambda: None),
            (torch, "tensor", _with_device(_REAL_TENSOR)),
            (torch, "as_tensor", _with_device(_REAL_AS_TENSOR)),
            (Tensor, "to", _to),
            (Tensor, "cuda", lambda self, *_, **__: self.to(GPU)),
            (Tensor, "type_as", lambda self, other: self.to(other)),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(_Mode())  # type: ignore[no-untyped-call]
        yield GPU
