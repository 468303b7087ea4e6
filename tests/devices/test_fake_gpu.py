"""The fake GPU does what CUDA does: it computes, it refuses to mix, and it lets gradients pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from fake_gpu import DeviceError, GPUTensor, fake_gpu
from torch import Tensor, nn

from invdiff.operators import LinearOperator


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with fake_gpu() as device:
        yield device


def test_tensors_arrive_and_come_back(gpu: torch.device) -> None:
    x = torch.arange(6.0).reshape(2, 3)
    made = [x.to(gpu), x.to("cuda"), x.cuda(), x.to(device=gpu, dtype=torch.float64), x.to(x.to(gpu))]
    made += [torch.ones(2, device=gpu), torch.full((2,), 3.0, device=gpu), torch.tensor([1.0], device=gpu)]
    made += [
        torch.as_tensor([1.0], dtype=torch.float64, device=gpu),
        torch.zeros_like(x.to(gpu)),
        x.to(gpu).new_zeros(2),
    ]
    made += [2 * x.to(gpu), x.to(gpu).T, x.to(gpu).double(), x.to(gpu)[0], torch.fft.fft(x.to(gpu)).real]
    for t in made:
        assert isinstance(t, GPUTensor) and t.device == gpu and t.is_cuda
        assert type(t.cpu()) is Tensor and not t.cpu().is_cuda
    assert made[3].dtype == torch.float64
    assert torch.equal(x.to(gpu).cpu(), x) and x.to(gpu).tolist() == x.tolist()
    assert float(x.to(gpu).sum()) == 15 and bool((x.to(gpu) >= 0).all())
    assert torch.zeros_like(x.to(gpu), device="cpu").device.type == "cpu"


MIXED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "sum": lambda a, b: a + b,
    "product": lambda a, b: a @ b.T,
    "join": lambda a, b: torch.cat([a, b]),
    "join of scalars": lambda a, b: torch.stack([a.sum(), b.sum()]),
    "choice": lambda a, b: torch.where(a > 0, a, b),
    "in place": lambda a, b: b.add_(a),
    "scalar in place": lambda a, b: b.sum().add_(a.sum()),
    "convolution": lambda a, b: torch.nn.functional.conv1d(a[None], b[None]),
    "indices": lambda a, b: b[(a > 0).nonzero()[:, 0]],
    "numpy": lambda a, b: a.numpy(),
    "generator": lambda a, b: torch.randn(3, generator=torch.Generator(), device=a.device),
}


@pytest.mark.parametrize("name", MIXED)
def test_devices_do_not_mix(name: str, gpu: torch.device) -> None:
    x = torch.ones(2, 3)
    with pytest.raises(TypeError if name == "numpy" else DeviceError):
        MIXED[name](x.to(gpu), x)


def test_what_cuda_takes_from_the_cpu_is_taken(gpu: torch.device) -> None:
    x = torch.arange(6.0).reshape(2, 3).to(gpu)
    assert (x + torch.tensor(1.0)).is_cuda and torch.where(x > 0, x, torch.tensor(0.0)).is_cuda
    assert x[torch.tensor([0])].is_cuda and x[torch.tensor([True, False])].is_cuda
    y = torch.empty(2, 3)
    y.copy_(x)
    assert type(y) is Tensor and y[1, 2] == 5
    z = torch.empty(2, 3, device=gpu)
    z.copy_(y)
    z[torch.tensor([0])] = torch.tensor(7.0)
    assert z.tolist() == [[7, 7, 7], [3, 4, 5]]


def test_gradients_pass_between_devices(gpu: torch.device) -> None:
    w = torch.ones(3, requires_grad=True)
    v = torch.ones(3, device=gpu).requires_grad_()
    (w.to(gpu) * v).sum().cpu().backward()
    assert type(w.grad) is Tensor and isinstance(v.grad, GPUTensor)


def test_modules_move_with_their_gradients_and_optimizers(gpu: torch.device) -> None:
    kernel = nn.Conv2d(1, 2, 3)
    net = nn.Sequential(kernel, nn.GroupNorm(1, 2)).to(gpu).to(memory_format=torch.channels_last)
    assert all(p.is_cuda for p in net.parameters())
    with pytest.raises(DeviceError):
        net(torch.ones(1, 1, 5, 5))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    before = kernel.weight.cpu().clone()
    net(torch.rand(1, 1, 5, 5, device=gpu)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(kernel.weight.cpu(), before)


def test_the_process_is_left_as_it_was() -> None:
    made, moved = torch.as_tensor, Tensor.to
    with fake_gpu():
        assert Tensor.to is not moved
    assert torch.as_tensor is made and Tensor.to is moved


class Stubborn(LinearOperator):
    """Keeps its weights on the CPU."""

    in_shape = out_shape = (1, 2, 2)

    def __init__(self) -> None:
        self.parts = [torch.ones(2, 2)]  # a list, which `to` does not look into

    def forward(self, x: Tensor) -> Tensor:
        return self.parts[0] * x


def test_an_operator_that_stays_behind_is_found(gpu: torch.device) -> None:
    with pytest.raises(DeviceError, match=r"mul\.Tensor"):
        Stubborn().to(gpu)(torch.ones(1, 1, 2, 2, device=gpu))
