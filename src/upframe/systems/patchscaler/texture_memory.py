"""Texture prompts: a memory of good textures, searched by what a patch looks like.

The memory holds patches of latents of good images (values) and their features
(keys), both of unit length, made by a frozen classifier of textures. The nearest by
inner product and how near they are become tokens that a diffusion transformer attends
to. A memory of ten thousand keys is one small matrix product, so it needs no index.

After PatchScaler (Liu et al., ICCV 2025), which names the parts and gives no sizes.
Chosen here: the classifier is a small convolutional network over latents, trained with
the image's folder as class, or without labels, the image being the class
(`upframe.systems.patchscaler.training`); of too many patches the memory keeps those
that are farthest from each other; a reference gives one token per 4x4 places, its
similarity is added to each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from upframe.errors import InputError, OutputError, UsageError, WeightsError

_VERSION = "1"
_TOKEN = 4
"""Side of the places that a token stands for."""


class TextureClassifier(nn.Module):
    """Which class of texture a patch of latents shows.

    Args:
        channels: of the latent.
        widths: of its layers; each but the first halves the size.
        classes: of textures, as many as folders in training; 0 for features alone.
    """

    def __init__(
        self, channels: int, widths: tuple[int, ...] = (64, 128, 256), classes: int = 47
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (width, before) in enumerate(
            zip(widths, (channels, *widths[:-1]), strict=True)
        ):
            stride = 2 if number else 1
            layers += [
                nn.Conv2d(before, width, 3, stride=stride, padding=1),
                nn.GroupNorm(1, width),
                nn.SiLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], classes) if classes else None

    def features(self, patches: Tensor) -> Tensor:
        """(M, C, p, p) to (M, D), float32, of unit length."""
        return F.normalize(self.body(patches).mean((-2, -1)).float(), dim=1)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, C, p, p) to logits (M, classes); for training with cross-entropy.

        Raises:
            UsageError: there are no classes.
        """
        if self.head is None:
            raise UsageError(
                "This texture classifier has no classes.", "Use its features."
            )
        out: Tensor = self.head(self.body(patches).mean((-2, -1)))
        return out

    def fingerprint(self) -> str:
        """SHA-256 of the weights that make the features, 64 hex digits.

        The same whether they are in float32 or were rounded to bfloat16.
        """
        digest = hashlib.sha256()
        for name, value in sorted(self.body.state_dict().items()):
            digest.update(name.encode())
            bits = value.detach().cpu().bfloat16().view(torch.int16)
            digest.update(bits.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Found:
    """The nearest references of patches, nearest first."""

    values: Tensor
    """(M, K, C, p, p)."""
    similarity: Tensor
    """(M, K), inner products in [-1, 1], float32."""
    indices: Tensor
    """(M, K), int64."""


class TextureMemory(nn.Module):
    """Keys and values, as buffers.

    Args:
        keys: (R, D) of unit length.
        values: (R, C, p, p).
        classifier: fingerprint of the classifier that made the keys.

    Raises:
        UsageError: keys and values are not of the same references, or there are none.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, classifier: str) -> None:
        super().__init__()
        if keys.ndim != 2 or values.ndim != 4 or len(keys) != len(values):
            raise UsageError(
                f"Keys {tuple(keys.shape)} and values {tuple(values.shape)} are not "
                "of the same references.",
                "Give (R, D) and (R, C, p, p).",
            )
        if not len(keys):
            raise UsageError("A texture memory is empty.", "Build it from images.")
        self.register_buffer("keys", keys.float())
        self.register_buffer("values", values)
        self.classifier = classifier

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, queries: Tensor, count: int) -> Found:
        """The references with the largest inner products.

        Args:
            queries: (M, D) of unit length.
            count: K; all references if there are fewer.
        """
        similarity = queries.float() @ self.keys.float().T
        best, indices = similarity.topk(min(count, len(self)), dim=1)
        return Found(self.values[indices], best, indices)

    def save(self, path: Path) -> None:
        """Write a safetensors file that :meth:`load` reads.

        Raises:
            OutputError: it cannot be written.
        """
        tensors = {
            "keys": self.keys.cpu().contiguous(),
            "values": self.values.cpu().contiguous(),
        }
        about = {"version": _VERSION, "texture_classifier": self.classifier}
        try:
            save_file(tensors, path, about)
        except (OSError, SafetensorError) as error:
            raise OutputError(
                f"{path} cannot be written: {error}.", "Check the folder and the disk."
            ) from error

    @classmethod
    def load(cls, path: Path) -> TextureMemory:
        """Read what :meth:`save` wrote.

        Raises:
            WeightsError: it is missing, damaged, or no texture memory.
        """
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        except (OSError, SafetensorError) as error:
            raise WeightsError(
                f"{path} cannot be read: {error}.", "Build the memory again."
            ) from error
        if about.get("version") != _VERSION or set(tensors) != {"keys", "values"}:
            raise WeightsError(
                f"{path} holds no texture memory of version {_VERSION}.",
                "Build it with build_memory and save it.",
            )
        try:
            return cls(
                tensors["keys"], tensors["values"], about.get("texture_classifier", "")
            )
        except UsageError as error:
            raise WeightsError(f"{path}: {error.message}", error.advice) from error


@torch.no_grad()
def build_memory(
    patches: Iterable[Tensor], classifier: TextureClassifier, capacity: int
) -> TextureMemory:
    """A memory of the patches that differ most.

    Args:
        patches: (n, C, p, p) latents of good images, in any number of parts.
        classifier: makes the keys.
        capacity: references to keep at most; of more, each next one is that whose
            largest similarity to those already kept is smallest, beginning with the
            first patch.

    Raises:
        UsageError: the capacity is below 1.
        InputError: there are no patches.
    """
    if capacity < 1:
        raise UsageError(f"A capacity of {capacity} holds nothing.", "Give 1 or more.")
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for part in patches:
        keys.append(classifier.features(part))
        values.append(part)
    if not values:
        raise InputError(
            "There are no patches to build a texture memory from.",
            "Give images that are at least as large as a patch.",
        )
    key, value = torch.cat(keys), torch.cat(values)
    kept = spread(key, capacity)
    return TextureMemory(key[kept], value[kept].clone(), classifier.fingerprint())


def spread(keys: Tensor, count: int) -> Tensor:
    """Indices of keys far from each other, (min(count, R),), in the order chosen.

    Greedy k-centre: deterministic, ``count`` products with all keys.
    """
    chosen = [0]
    nearest = keys @ keys[0]
    for _ in range(min(count, len(keys)) - 1):
        nearest[chosen[-1]] = float("inf")  # never again
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, keys @ keys[chosen[-1]])
    return torch.tensor(chosen, device=keys.device)


class TextureEncoder(nn.Module):
    """Similarity-aware: references and how near they are, to prompt tokens.

    Args:
        channels: of the references.
        width: of the tokens.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, _TOKEN, stride=_TOKEN)
        self.similarity = nn.Sequential(
            nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.mixer = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, found: Found) -> Tensor:
        """To tokens (M, K * (p / 4)², width), reference by reference.

        p must be a multiple of 4. The order of references does not matter to what
        attends to the tokens.
        """
        count, most = found.similarity.shape
        kind = self.patches.weight.dtype
        near = self.similarity(found.similarity[..., None].to(kind))
        tokens = self.patches(found.values.flatten(0, 1).to(kind)).flatten(2)
        tokens = tokens.transpose(1, 2).unflatten(0, (count, most))
        x = (tokens + near[:, :, None]).flatten(1, 2)
        out: Tensor = x + self.mixer(x)
        return out
