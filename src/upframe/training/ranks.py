"""Several processes that train one network, started by ``torchrun``.

Each process computes its share of every batch; gradients are averaged in one piece
after the backward pass. PyTorch's DistributedDataParallel would overlap the two, but it
refuses what our networks do: parameters that some steps do not use, results that are no
tensors, several backward passes a step. A small network's gradients take milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from upframe.errors import UsageError

_PATIENCE = timedelta(hours=1)
"""How long processes wait for the first, which alone validates and builds caches."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1
    """How many processes there are."""
    local_rank: int = 0
    """Number of this process on its machine."""

    @classmethod
    def of_environment(cls) -> Ranks:
        """What ``torchrun`` says; alone without it.

        Raises:
            UsageError: if the variables make no sense.
        """
        try:
            rank, world, local = (
                int(os.environ.get(name, default))
                for name, default in (
                    ("RANK", "0"),
                    ("WORLD_SIZE", "1"),
                    ("LOCAL_RANK", "0"),
                )
            )
        except ValueError as error:
            raise UsageError(
                f"RANK, WORLD_SIZE or LOCAL_RANK is no number: {error}.",
                "Start several processes with torchrun.",
            ) from error
        return cls(rank, world, local)

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """Numbers of the samples of a batch that this process computes.

        Raises:
            UsageError: if the batch cannot be shared equally.
        """
        if batch % self.world:
            raise UsageError(
                f"A batch of {batch} cannot be shared by {self.world} processes.",
                "Make data.batch a multiple of their number.",
            )
        size = batch // self.world
        return range(self.rank * size, (self.rank + 1) * size)

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """In which the processes are connected: NCCL on GPUs, Gloo on CPUs."""
        if self.world == 1:
            yield
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", timeout=_PATIENCE, device_id=device)
        else:
            dist.init_process_group("gloo", timeout=_PATIENCE)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def wait(self) -> None:
        """For all other processes to come here."""
        if self.world > 1:
            dist.barrier()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run by the first process, and then by all others."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.world == 1:
            return
        parts = list(tensors)
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        flat /= self.world
        means = torch.split(flat, [part.numel() for part in parts])
        for part, mean in zip(parts, means, strict=True):
            part.copy_(mean.view(part.shape))

    def average_gradients(self, network: nn.Module) -> None:
        """Of all parameters that have one; the same ones in all processes."""
        self.average(p.grad for p in network.parameters() if p.grad is not None)

    def any(self, here: bool, device: torch.device) -> bool:
        """Whether it is so in one of the processes."""
        if self.world == 1:
            return here
        flag = torch.tensor(float(here), device=device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())
