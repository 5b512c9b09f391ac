"""A provider of certificates for tests, and renewals that it is asked for."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import load_file, save_file

from photovax.attack.recipe import Recipe
from photovax.certificates import jws
from photovax.certificates.issuing import Issuer
from photovax.certificates.keys import KeyRing
from photovax.certificates.register import Register, Registered, registered
from photovax.certificates.renewal import Renewer, Wish
from photovax.certificates.verification import Seen
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part

QUICK = Recipe(
    objective=Part("latent_drift"),
    budget=Part("linf", {"radius": 8 / 255}),
    views=(Part("short_side"),),
    steps=6,
    step_size=3 / 255,
    schedule="cosine",
    size=64,
)


class Provider:
    """One provider with a photo immunized against the embedded model, and certified."""

    def __init__(self, folder: Path, recipe: Recipe = QUICK) -> None:
        self.folder = folder
        self.recipe = recipe
        self.ring = KeyRing(folder / "keys")
        self.register = Register(folder / "register.json")
        self.issuer = Issuer(self.register.supported(), self.ring, device="cpu")
        self.original = folder / "original.png"
        Image.open(SAMPLE).crop((150, 20, 246, 100)).save(self.original)
        self.photo = folder / "photo.png"
        result = self.issuer.immunizer.immunize(read_photo(self.original), recipe)
        self.issuer.immunizer.save(result, self.photo)
        self.text = self.certified(total=2 * recipe.constraint.most)

    def certified(self, **options: Any) -> str:
        original = read_photo(self.original)
        return self.issuer.certify(self.photo, original, self.recipe, **options)

    def seen(self) -> Seen:
        return Seen.of(self.photo, read_photo(self.photo))


def next_version(weights: Path, folder: Path, version: str) -> Registered:
    """The embedded model with slightly other weights than those in a folder, in another one."""
    shutil.copytree(weights, folder)
    file = folder / "diffusion_pytorch_model.safetensors"
    save_file({name: 1.01 * value for name, value in load_file(file).items()}, file)
    return registered(str(folder), name="embedded", version=version)


def renewer_of(provider: Provider, *models: Registered, recipe: Recipe = QUICK) -> Renewer:
    return Renewer(
        provider.ring, models, recipe, lambda those: Issuer(those, provider.ring, device="cpu")
    )


def wish_for(provider: Provider, output: Path, **options: Any) -> Wish:
    options = {"certificate": provider.text, **options}
    to = Destination(output, options.pop("overwrite", False))
    return Wish(photo=read_photo(provider.photo), seen=provider.seen(), output=to, **options)


def payload_of(text: str) -> dict[str, Any]:
    """What a certificate states, as any library for JWS reads it."""
    payload = json.loads(text)["payload"]
    stated: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return stated


def altered(text: str, change: Callable[[dict[str, Any]], object]) -> str:
    """A certificate with changed statements and its former signature."""
    stated = payload_of(text)
    change(stated)
    data = jws.signing_input(jws.header_of(stated["key"]), json.dumps(stated).encode())
    members = jws.flattened(data, b"")
    return json.dumps(members | {"signature": json.loads(text)["signature"]})


def largest_change(first: Path, second: Path) -> int:
    before, after = (read_photo(path).pixels.astype(int) for path in (first, second))
    return int(np.abs(after - before).max())
