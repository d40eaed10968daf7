"""PatchScaler in three stages: restoration module, texture classifier, Patch-DiT.

The paper (see `upframe.systems.patchscaler`) trains the restoration module first and
Patch-DiT on top of it; of the classifier it says that it is frozen. Chosen here:

* `RestorationTask`: the paper's loss on latents of degraded, upsampled images; what
  the frozen decoder makes of the coarse latent goes to the losses of the recipe.
* `TextureTask`: there are no labels of textures, so the image that a crop comes from
  is its class: a patch of the coarse latent has to find, among the true patches of a
  batch, the one from another place of its own image, by inner product. That is what
  the memory is searched by, and what it is searched with.
* `PatchScalerTask`: Patch-DiT predicts x_0 from noised true patches at any time up to
  the hardest start, and from noised coarse ones at the starts, as sampling begins.
  Patches of an image are sampled apart and joined as in the system; the decoded
  image goes to the losses of the recipe, so that a single step gives a usable image.
  In part of the steps the prompt is the token for none, so that a memory is no must.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.nn.images import upsample
from upframe.systems.diffusion.autoencoder import Autoencoder
from upframe.systems.diffusion.latents import decode, encode, fill
from upframe.systems.diffusion.training import read_autoencoder
from upframe.systems.patchscaler.model import PatchScaler, PatchScalerConfig, Sizes
from upframe.systems.patchscaler.patches import cut, join, patch_grid
from upframe.systems.patchscaler.restoration import GlobalRestoration, restoration_loss
from upframe.systems.patchscaler.sampling import Group, Grouping, shortcut
from upframe.systems.patchscaler.texture_memory import TextureClassifier, TextureMemory
from upframe.systems.training_step import StepResult
from upframe.training.stages import building, part_of
from upframe.weights.checkpoints import read_checkpoint

_SCALE = 4


class RestorationTask(nn.Module):
    """The global restoration module, its loss and that of its decoded latents.

    Args:
        autoencoder: file that `read_autoencoder` takes; stays frozen.
        widths: of the module's levels.
        blocks: its residual blocks per level and direction.
        weight: of the paper's loss beside those of the recipe.
        eta: η of the confidence, in squared units of the latent.
        decoded: images of a batch that are decoded in training.
    """

    def __init__(
        self,
        autoencoder: str,
        widths: Sequence[int] = (32, 48),
        blocks: int = 2,
        weight: float = 1.0,
        eta: float = 0.1,
        decoded: int = 8,
    ) -> None:
        super().__init__()
        self.vae = read_autoencoder(Path(autoencoder))
        channels = self.vae.config.latent_channels
        self.restoration = GlobalRestoration(channels, tuple(widths), blocks)
        self.weight = weight
        self.eta = eta
        self.decoded = decoded

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """The coarse image and how far its latent is from the true one.

        Args:
            low: (B, 3, h, w) in [0, 1].
            high: (B, 3, 4h, 4w).
        """
        z, target = _latents(self.vae, low, high)
        coarse = self.restoration(z)
        loss = self.weight * restoration_loss(coarse, target, eta=self.eta)
        count = self.decoded if self.training else len(high)
        height, width = high.shape[-2:]
        frames = decode(self.vae, coarse.latent[:count])[..., :height, :width]
        return StepResult(frames, high[:count], {"restoration": loss})


class TextureTask(nn.Module):
    """The texture classifier, trained to tell images apart by patches of them.

    Args:
        restoration: checkpoint of `RestorationTask`; stays frozen.
        widths: of the classifier.
        patch: side of a patch in latents.
        temperature: inner products are divided by it before the cross-entropy.
    """

    def __init__(
        self,
        restoration: str,
        widths: Sequence[int] = (16, 24, 32),
        patch: int = 8,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.vae, self.restoration, _ = read_restoration(Path(restoration))
        channels = self.vae.config.latent_channels
        self.classifier = TextureClassifier(channels, tuple(widths), classes=0)
        self.patch = patch
        self.temperature = temperature

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """Cross-entropy, both ways; there is no image to look at.

        Args:
            low: (B, 3, h, w) in [0, 1].
            high: (B, 3, 4h, 4w), larger than a patch.
        """
        z, target = _latents(self.vae, low, high)
        with torch.no_grad():
            coarse = self.restoration(z).latent
        corners = _corners(coarse, self.patch), _corners(target, self.patch)
        here, there = torch.randperm(len(corners[0]))[:2].tolist()
        queries = self.classifier.features(corners[0][here])
        keys = self.classifier.features(corners[1][there])
        logits = queries @ keys.T / self.temperature
        own = torch.arange(len(logits), device=logits.device)
        loss = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
        return StepResult(None, high, {"texture": loss / 2})


class PatchScalerTask(nn.Module):
    """Patch-DiT and the texture encoder; all else is frozen.

    Args:
        restoration: checkpoint of `RestorationTask`.
        classifier: checkpoint of `TextureTask`.
        memory: texture memory made with that classifier (``upframe textures``); None
            trains without prompts.
        groups: start and steps of simple, medium and hard patches.
        thresholds: of the confidence, see `Grouping`.
        layers: of Patch-DiT, with ``heads`` of ``head_width``.
        heads: of its attention.
        head_width: channels of a head.
        token: side of the latents that are a token.
        patch: side of a patch in latents.
        overlap: latents that neighbouring patches share.
        references: of a prompt.
        prompt_dropout: share of images that learn without a prompt.
        coarse_share: share of images that begin at a group's start with the noised
            coarse latent; the others are noised true latents at any time.
        decoded: images of a batch that are decoded in training.
    """

    def __init__(
        self,
        restoration: str,
        classifier: str,
        memory: str | None = None,
        groups: Sequence[Sequence[int]] = ((200, 2), (500, 6), (800, 15)),
        thresholds: Sequence[float] = (0.7, 0.4),
        layers: int = 4,
        heads: int = 3,
        head_width: int = 16,
        token: int = 1,
        patch: int = 8,
        overlap: int = 2,
        references: int = 4,
        prompt_dropout: float = 0.2,
        coarse_share: float = 0.5,
        decoded: int = 8,
    ) -> None:
        super().__init__()
        vae, module, declared = read_restoration(Path(restoration))
        textures = read_classifier(Path(classifier))
        sizes = Sizes(
            **declared,
            layers=layers,
            heads=heads,
            head_width=head_width,
            token=token,
            classifier=textures.widths,
            classes=0,
        )
        easy, medium, hard = (Group(start, steps) for start, steps in groups)
        g1, g2 = thresholds
        grouping = Grouping((easy, medium, hard), (g1, g2))
        numbers = PatchScalerConfig(sizes, grouping, _SCALE, patch, overlap, references)
        self.model = PatchScaler(vae, numbers)
        self.model.restoration.load_state_dict(module.state_dict())
        self.model.restoration.requires_grad_(False)
        self.model.classifier.load_state_dict(textures.classifier.state_dict())
        if memory is not None:
            self.model.set_memory(TextureMemory.load(Path(memory)))
        self.prompt_dropout = prompt_dropout
        self.coarse_share = coarse_share
        self.decoded = decoded

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """In training mode predictions of x_0, else the system's own images.

        Args:
            low: (B, 3, h, w) in [0, 1].
            high: (B, 3, 4h, 4w), in training not smaller than a patch.
        """
        model = self.model
        if not self.training:
            return StepResult(model(low[:, None])[:, 0], high)
        z, x_0 = _latents(model.vae, low, high)
        with torch.no_grad():
            y_0 = model.restore_coarsely(z).latent
        start, t = self._starts(y_0, x_0)
        noise = torch.randn_like(x_0)
        alpha = model.alphas[t.cpu()].to(x_0)[:, None, None, None]
        rows, columns = x_0.shape[-2:]
        grid = patch_grid(rows, columns, model.config.patch, model.config.overlap)
        coarse = cut(y_0, grid)
        predicted = model.predict(
            cut(shortcut(start, noise, alpha), grid),
            t.repeat(len(grid)),
            coarse,
            self._prompt(coarse),
        )
        losses = {"denoising": F.mse_loss(predicted, cut(x_0, grid))}
        frames = model.decode(join(predicted, grid)[: self.decoded])
        height, width = high.shape[-2:]
        return StepResult(frames[..., :height, :width], high[: self.decoded], losses)

    def _starts(self, y_0: Tensor, x_0: Tensor) -> tuple[Tensor, Tensor]:
        """What is noised, (B, C, h, w), and to which timestep, (B,)."""
        count, device = len(x_0), x_0.device
        starts = torch.tensor([g.start for g in self.model.config.grouping.groups])
        t = torch.randint(1, int(starts[-1]) + 1, (count,))
        chosen = starts[torch.randint(len(starts), (count,))]
        coarse = torch.rand(count) < self.coarse_share
        t = torch.where(coarse, chosen, t).to(device)
        return torch.where(coarse.to(device)[:, None, None, None], y_0, x_0), t

    def _prompt(self, y_0: Tensor) -> Tensor:
        """Prompts of patches, some of them the token for none, repeated: attention over
        equal tokens is attention over one."""
        tokens = self.model.prompt(y_0)
        none = torch.rand(len(y_0), 1, 1) < self.prompt_dropout
        return torch.where(none.to(tokens.device), self.model.no_prompt, tokens)

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What ``build_patchscaler`` takes, and the weights for it."""
        return self.model.configuration(), self.model.state_dict()


class ClassifierStage(NamedTuple):
    """What a checkpoint of `TextureTask` holds."""

    vae: Autoencoder
    classifier: TextureClassifier
    widths: tuple[int, ...]
    patch: int
    """Side of the patches it has seen, in latents."""


def read_restoration(
    path: Path,
) -> tuple[Autoencoder, GlobalRestoration, dict[str, Any]]:
    """What a checkpoint of `RestorationTask` holds, frozen.

    Returns:
        Autoencoder, restoration module, and its sizes as `Sizes` names them.

    Raises:
        WeightsError: it cannot be read, or is none.
    """
    checkpoint = read_checkpoint(path)
    declared = checkpoint.declared
    with building("restoration module", path, "patchscaler-nano-restoration"):
        vae = read_autoencoder(Path(declared["autoencoder"]))
        vae.load_state_dict(part_of(checkpoint.state, "vae."))
        widths, blocks = tuple(declared["widths"]), int(declared["blocks"])
        module = GlobalRestoration(vae.config.latent_channels, widths, blocks)
        module.load_state_dict(part_of(checkpoint.state, "restoration."))
    frozen = module.requires_grad_(False).eval()
    return vae, frozen, {"restoration": widths, "blocks": blocks}


def read_classifier(path: Path) -> ClassifierStage:
    """What a checkpoint of `TextureTask` holds, frozen.

    Raises:
        WeightsError: it cannot be read, or is none.
    """
    checkpoint = read_checkpoint(path)
    declared = checkpoint.declared
    with building("texture classifier", path, "texture-classifier-nano"):
        vae, _, _ = read_restoration(Path(declared["restoration"]))
        vae.load_state_dict(part_of(checkpoint.state, "vae."))
        widths = tuple(declared["widths"])
        channels = vae.config.latent_channels
        classifier = TextureClassifier(channels, widths, classes=0)
        classifier.load_state_dict(part_of(checkpoint.state, "classifier."))
        patch = int(declared["patch"])
    frozen = classifier.requires_grad_(False).eval()
    return ClassifierStage(vae, frozen, widths, patch)


def _latents(vae: Autoencoder, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Latents of the upsampled image and of the true one."""
    factor = vae.config.factor
    images = (upsample(low, _SCALE), high)
    z, target = (encode(vae, fill(image, factor)) for image in images)
    return z, target


def _corners(x: Tensor, patch: int) -> list[Tensor]:
    """The patches (B, C, p, p) in the corners of maps (B, C, h, w)."""
    sides = slice(None, patch), slice(-patch, None)
    return [x[..., rows, columns] for rows in sides for columns in sides]
