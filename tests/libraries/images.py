"""Loss and accuracy of the families of images: Hugging Face's ViT, and timm's by name and argument."""

import itertools
import json
from pathlib import Path

import timm
import torch

import timm_settings
from checks import Ask, Check, LibraryRefuses, settled
from models import DTYPES, away_from_defaults, change_config, save
from pictures import bytes_of, pictures
from program import Crashed
from reference import AUTO, expectation
from timm_settings import Made

SEED = 7
NOISE = 0.2
RESNET_CHANNELS = (8, 16, 24, 32)
VIT_SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
# Sizes, which the tensors tell.
SIZES = ("depth", "embed_dim", "img_size", "num_heads", "patch_size", "init_values", "mlp_ratio")
FIXTURE = Path(__file__).parent.parent / "fixtures/configurations/defaults.json"


class HuggingFace:
    """Classifiers of Hugging Face."""

    def __init__(self, family, program, folder):
        self.family, self.name, self.program, self.folder = family, family.name, program, folder
        self.number = itertools.count()
        folder.mkdir()

    def all(self):
        side = self.family.side
        own = (3, side, side)
        for dtype, shards in itertools.product(DTYPES, (False, True)):
            yield self.check(
                f"{dtype}{', shards' if shards else ''}", self.model(dtype=dtype, shards=shards), pictures(*own)
            )
        for classes in (2, 3, 7):
            yield self.check(f"{classes} classes", self.model({"num_labels": classes}), pictures(*own))
        model = self.model()
        yield self.check("bytes", model, bytes_of(*own))
        for size in (
            (3, 4, 4),
            (3, 8, 4),
            (3, 4, 8),
            (3, 12, 12),
            (3, 16, 4),
            (3, 7, 8),
            (3, 9, 9),
            (1, 8, 8),
            (4, 8, 8),
        ):
            # Some read images that their patches do not fill, or that make fewer patches than there are positions.
            yield self.check("images " + "×".join(map(str, size)), model, pictures(*size), ("wrong_input_shape",))
        for setting in self.family.settings:
            yield self.set(setting)

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def model(self, given=None, **saving):
        torch.manual_seed(SEED)
        model = AUTO["image"].from_config(self.family.configured(**(given or {})))
        model = away_from_defaults(model, SEED)
        calibrate(model, (getattr(model.config, "num_channels", 3), self.family.side, self.family.side))
        return save(model, self.place(), **saving)

    def set(self, setting):
        try:
            model = self.model(setting.config, edit=setting.edit)
        except Exception as error:
            answer = Crashed(f"the library cannot make it: {error}")
            return Check(self.name, setting.name, "evaluate", LibraryRefuses(""), lambda: answer)
        size = setting.config.get("image_size", self.family.side)
        height, width = size if isinstance(size, tuple) else (size, size)
        data = pictures(setting.config.get("num_channels", 3), height, width)
        return self.check(setting.name, model, data, setting.named, setting.refuse)

    def check(self, case, model, data, named=(), refuse=""):
        theirs, data = expectation(model, "image", data)
        theirs, named = settled(theirs, named, refuse)
        file = data.write(self.place())
        return Check(self.name, case, "evaluate", theirs, Ask(self.program, "evaluate", model, file), named)


class ByName:
    """timm's networks: one family of settings, and the arguments that keep its networks small."""

    def __init__(self, family, program, folder):
        self.name, self.made, self.image, self.small = family
        self.program, self.folder = program, folder
        self.number = itertools.count()
        folder.mkdir()

    def all(self):
        for made in self.made:
            yield self.check(made)

    def place(self):
        return self.folder / f"{next(self.number):03}"

    def check(self, made):
        try:
            folder = self.model(made)
        except Exception as error:
            answer = Crashed(f"the library cannot make it: {error}")
            return Check(self.name, str(made), "evaluate", LibraryRefuses(""), lambda: answer)
        data = pictures(*(made.image or self.image))
        theirs, data = expectation(folder, "timm", data)
        theirs, named = settled(theirs, made.named, made.refuse)
        file = data.write(self.place())
        return Check(self.name, str(made), "evaluate", theirs, Ask(self.program, "evaluate", folder, file), named)

    def model(self, made):
        """A model's folder, as timm writes it for the hub."""
        torch.manual_seed(SEED)
        model = timm.create_model(made.name, **({"num_classes": 3} | self.small(made.name) | made.arguments))
        away_from_defaults(model, SEED, NOISE if self.name == "vit_*" else NOISE / 10)
        calibrate(model, (made.arguments.get("in_chans", 3), *self.image[1:]))
        folder = self.place()
        timm.models.save_for_hf(model.to(DTYPES[made.dtype]), folder, safe_serialization=True)
        change_config(folder, made.edit)
        return folder


def batch_norms(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


def calibrate(model, image):
    """Batch statistics as after training."""
    norms = batch_norms(model)
    if not norms:
        return
    for norm in norms:
        norm.momentum = 0.5
    model.train()
    forward = getattr(model, "forward_features", model)
    with torch.no_grad():
        for seed in range(4):
            forward(pictures(*image, seed=seed).pixels)
    model.eval()


def small_resnet(name):
    if name.startswith("resnetv2"):
        return {}
    # Groups and their widths are of a name.
    return {"channels": (64, 64, 64, 64) if "next" in name or name == "senet154" else RESNET_CHANNELS}


def small_convnext(name):
    return {"depths": (1, 1, 2, 1), "dims": (8, 8, 12, 16)}


def small_densenet(name):
    return {"growth_rate": 8, "block_config": (2, 2, 2, 2)}


def as_they_are(name):
    """What no argument makes smaller."""
    return {}


def small_vgg(name):
    """VGG's widths are no arguments: its table is made small once, for making and for reading back."""
    for key, widths in timm.models.vgg.cfgs.items():
        timm.models.vgg.cfgs[key] = [width if width == "M" else min(width, 16) for width in widths]
    return {"mlp_ratio": 0.01} if name.startswith("vgg") else {}


def small_swin(name):
    return {"img_size": 32, "window_size": 4, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 4)}


def small_vit(name):
    return {} if name in NAMED else VIT_SIZES


def every_vit():
    """All names that timm's plain vision transformer has, narrow and shallow, with the heads of the name."""
    found = json.loads(FIXTURE.read_text())["timm"]["architectures"]
    for name, architecture in found.items():
        arguments = architecture["model_args"]
        if architecture["constructor"] != "VisionTransformer" or "embed_layer" in arguments:
            continue
        side, heads = 2 * arguments.get("patch_size", 16), arguments.get("num_heads", 12)
        small = {"img_size": side, "embed_dim": 4 * heads, "depth": 1}
        unusual = [key for key in arguments if key not in SIZES]
        yield Made(
            name, small, (3, side, side), named=(*unusual, *timm_settings.TENSORS) if unusual else (), title=name
        )


NAMED = {made.name for made in every_vit()} - {timm_settings.TINY}
MOBILE = (
    "efficientnet_b0",
    "tf_efficientnet_b0",
    "efficientnet_lite0",
    "tf_efficientnetv2_b0",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "tf_mobilenetv3_small_minimal_100",
    "mobilenetv3_large_075",
)
TIMM = [
    ("convnext", timm_settings.CONVNEXT, (3, 64, 64), small_convnext),
    ("densenet", timm_settings.DENSENET, (3, 64, 64), small_densenet),
    ("mobile", [*map(Made, MOBILE), *timm_settings.MOBILE], (3, 64, 64), as_they_are),
    ("resnet", timm_settings.RESNET, (3, 32, 32), small_resnet),
    ("swin_*", timm_settings.SWIN, (3, 32, 32), small_swin),
    ("vgg", timm_settings.VGG, (3, 64, 64), small_vgg),
    ("vit_*", [*timm_settings.VIT, *every_vit()], (3, 32, 32), small_vit),
]
