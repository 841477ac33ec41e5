"""Arguments of timm's constructors that real models have, and keys that files have without them."""

from dataclasses import dataclass, field

from settings import ABSENT

# Refusals may name the tensor that an argument makes.
TENSORS = (
    "cls_token",
    "reg_token",
    "attn_pool",
    "norm_pre",
    "fc_norm",
    "q_norm",
    "k_norm",
    "pos_embed",
    "norm.weight",
    "architecture",
    "input_size",
    "model_args",
    "wrong_input_shape",
)


@dataclass(frozen=True)
class Made:
    """A model by its name, and what it is asked."""

    name: str
    arguments: dict = field(default_factory=dict)
    # Channels and sides of the images; `None` for those of the family.
    image: tuple | None = None
    edit: dict = field(default_factory=dict)
    named: tuple = ()
    refuse: str = ""
    dtype: str = "f32"
    title: str = ""

    def __str__(self):
        said = ", ".join(f"{key} {value}" for key, value in self.arguments.items())
        image = "×".join(map(str, self.image)) if self.image else ""
        dtype = self.dtype if self.dtype != "f32" else ""
        if self.title:
            return f"{self.title}{', ' + dtype if dtype else ''}"
        edit = ", ".join(f"{key.split('.')[-1]} {value}" for key, value in self.edit.items() if value is not ABSENT)
        return ", ".join(part for part in (self.name, said, edit, image, dtype) if part)


def equal(name, image=None, **arguments):
    return Made(name, arguments, image)


def named(name, image=None, **arguments):
    return Made(name, arguments, image, named=(*arguments, *TENSORS))


def edited(name, title, edit, words=(), **more):
    return Made(name, {}, edit=edit, named=(*words, *TENSORS), title=f"{name}, {title}", **more)


RESNET = [
    *[equal(name) for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")],
    *[Made("resnet18", dtype=dtype) for dtype in ("f16", "bf16")],
    *[equal("resnet18", image) for image in ((3, 64, 64), (3, 40, 56), (3, 33, 47), (3, 224, 224))],
    equal("resnet18", (1, 48, 48), in_chans=1),
    Made("resnet18", {}, (1, 48, 48), named=TENSORS, title="resnet18, grey images for three channels"),
    *[
        named(name, (3, 96, 64), global_pool=pool)
        for name in ("resnet18", "resnet50")
        for pool in ("avg", "max", "avgmax", "catavgmax")
    ],
    named("resnet18", global_pool=""),
    *[named("resnet18", act_layer=act) for act in ("relu", "silu", "gelu", "leaky_relu", "hard_swish", "relu6")],
    *[
        named(name, output_stride=stride, image=(3, 64, 64))
        for name in ("resnet18", "resnet50")
        for stride in (32, 16, 8)
    ],
    *[named("resnet18", norm_layer=norm) for norm in ("batchnorm2d", "groupnorm1", "layernorm2d")],
    named("resnet18", avg_down=True),
    named("resnet50", avg_down=True),
    named("resnet18", down_kernel_size=3),
    named("resnet18", stem_type="deep", stem_width=8),
    named("resnet18", stem_type="deep_tiered", stem_width=8),
    named("resnet18", replace_stem_pool=True),
    named("resnet18", block_reduce_first=2),
    named("resnet18", block_args={"attn_layer": "se"}),
    named("resnet50", block_args={"attn_layer": "eca"}),
    named("resnet50", cardinality=2, base_width=32),
    named("resnet50", base_width=128),
    equal("resnet18", drop_rate=0.5),
    equal("resnet18", drop_path_rate=0.2),
    equal("resnet18", zero_init_last=False),
    named("resnet18", drop_block_rate=0.1),
    edited("resnet18", "global_pool max outside alone", {"global_pool": "max"}, ("global_pool",), image=(3, 96, 64)),
    edited("resnet18", "no global_pool", {"global_pool": ABSENT, "model_args.global_pool": ABSENT}),
    edited("resnet18", "another key of somebody's", {"my_project": {"run": 7}}, ("my_project",)),
    Made("resnet18", {"num_classes": 1}, named=("num_classes", "classes", "label"), refuse="one class"),
    Made("resnet18", {"num_classes": 0}, named=("num_classes", "fc.weight", "fc"), refuse="no classes"),
    *[
        named(name)
        for name in ("resnetv2_50", "ecaresnet50t", "resnetblur18", "resnetaa50", "resnetrs50")
    ],
    *[
        equal(name)
        for name in ("resnet26", "resnet18d", "resnet50d", "wide_resnet50_2", "seresnet18", "resnet10t", "resnet26t")
    ],
    *[equal(name) for name in ("resnet50c", "resnet50s", "resnext50_32x4d", "seresnext26d_32x4d", "senet154")],
]
CONVNEXT = [
    *[equal(name) for name in ("convnext_tiny", "convnext_atto", "convnext_atto_ols", "convnext_tiny_hnf")],
    *[equal(name) for name in ("convnextv2_tiny", "convnextv2_atto", "convnext_xxlarge")],
    equal("convnext_large_mlp", head_hidden_size=12),
    equal("convnext_tiny", norm_eps=1e-3),
    equal("convnext_tiny", (3, 96, 64)),
    equal("convnext_tiny", kernel_sizes=5),
    *[named("convnext_tiny", act_layer=act) for act in ("gelu_tanh", "relu", "gelu")],
    named("convnext_tiny", norm_layer="rmsnorm2d"),
    named("convnext_tiny", global_pool="max"),
    named("convnext_tiny", (3, 64, 64), output_stride=16),
    *[named(name) for name in ("convnext_atto_rms", "convnext_zepto_rms")],
]
DENSENET = [
    *[equal(name) for name in ("densenet121", "densenet161", "densenet264d")],
    equal("densenet121", (3, 70, 96)),
    named("densenet121", act_layer="silu"),
    named("densenetblur121d"),
]
MOBILE = [
    equal("mobilenetv2_035", (3, 63, 33)),
    equal("tf_mobilenetv3_small_075", (3, 63, 33)),
    equal("mobilenetv2_035", pad_type="same"),
    named("mobilenetv2_035", act_layer="silu"),
    named("mobilenetv2_035", output_stride=16),
    named("mobilenetv2_035", global_pool="max"),
    *[named(name) for name in ("mobilenetv3_rw", "mnasnet_050", "mobilenetv1_100", "efficientnet_es")],
]
VGG = [
    *[equal(name) for name in ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")],
    *[Made("vgg11_bn", dtype=dtype) for dtype in ("f16", "bf16")],
    *[equal("vgg11", image) for image in ((3, 32, 32), (3, 96, 64), (3, 224, 224), (3, 256, 256))],
    *[equal("vgg11_bn", image) for image in ((3, 50, 70), (3, 224, 300))],
    *[
        Made("vgg11", {}, image, {"pretrained_cfg.input_size": [3, 64, 64]})
        for image in ((3, 64, 64), (3, 32, 48), (3, 256, 288))
    ],
    equal("vgg11", (1, 64, 64), in_chans=1),
    *[
        named(name, (3, 256, 288), global_pool=pool)
        for name in ("vgg11",)
        for pool in ("avg", "max", "avgmax", "catavgmax")
    ],
    equal("vgg11", drop_rate=0.5),
    Made("vgg11", {"num_classes": 1}, named=("num_classes", "classes", "label"), refuse="one class"),
    named("repvgg_a0"),
]
SWIN_TINY = "swin_tiny_patch4_window7_224"
SWIN = [
    *[equal(name) for name in (SWIN_TINY, "swin_base_patch4_window12_384", "swin_s3_tiny_224")],
    equal(SWIN_TINY, window_size=2),
    equal(SWIN_TINY, window_size=(2, 2)),
    equal(SWIN_TINY, (3, 32, 64), img_size=(32, 64)),
    equal(SWIN_TINY, (3, 24, 24), img_size=24, window_size=3),
    equal(SWIN_TINY, qkv_bias=False),
    equal(SWIN_TINY, head_dim=8),
    equal(SWIN_TINY, drop_path_rate=0.5),
    named(SWIN_TINY, window_size=3),
    named(SWIN_TINY, window_size=(2, 4)),
    named(SWIN_TINY, always_partition=True),
    named(SWIN_TINY, dynamic_img_size=True),
    named(SWIN_TINY, norm_layer="rmsnorm"),
    named(SWIN_TINY, global_pool="max"),
    named("swinv2_tiny_window8_256"),
]
# As a model of 224 × 224 has it.
OF_SIZE = {"pretrained_cfg.input_size": [3, 32, 32]}
TINY = "vit_tiny_patch16_224"
VIT = [
    equal(TINY),
    *[Made(TINY, dtype=dtype) for dtype in ("f16", "bf16")],
    *[named(TINY, global_pool=pool) for pool in ("token", "avg", "avgmax", "max", "map", "")],
    named(TINY, class_token=False, global_pool="avg"),
    named(TINY, class_token=False, global_pool="avg", fc_norm=False),
    named(TINY, class_token=False, global_pool="max"),
    named(TINY, reg_tokens=4),
    named(TINY, reg_tokens=4, no_embed_class=True),
    named(TINY, no_embed_class=True),
    named(TINY, reg_tokens=1, class_token=False, global_pool="avg", no_embed_class=True),
    named(TINY, reg_tokens=4, global_pool="avg", pool_include_prefix=True),
    named(TINY, pre_norm=True),
    named(TINY, final_norm=False),
    named(TINY, fc_norm=True),
    named(TINY, qkv_bias=False),
    named(TINY, proj_bias=False),
    named(TINY, qk_norm=True),
    named(TINY, scale_mlp_norm=True),
    named(TINY, scale_attn_norm=True),
    equal(TINY, init_values=1e-5),
    equal(TINY, mlp_ratio=2.0),
    *[named(TINY, act_layer=act) for act in ("gelu", "gelu_tanh", "relu", "silu", "quick_gelu")],
    *[named(TINY, norm_layer=norm) for norm in ("layernorm", "rmsnorm", "layernormfp32", "simplenorm")],
    named(TINY, embed_norm_layer="layernorm"),
    named(TINY, attn_layer="diff"),
    named(TINY, pos_embed="none"),
    named(TINY, pos_embed="", class_token=False, global_pool="avg"),
    equal(TINY, drop_rate=0.5),
    equal(TINY, drop_path_rate=0.2),
    equal(TINY, pos_drop_rate=0.2, proj_drop_rate=0.1, attn_drop_rate=0.1),
    named(TINY, patch_drop_rate=0.5),
    equal(TINY, weight_init="moco"),
    equal(TINY, fix_init=True),
    equal(TINY, (1, 32, 32), in_chans=1),
    equal(TINY, (3, 32, 48), img_size=(32, 48)),
    named(TINY, (3, 32, 32), patch_size=(8, 4)),
    *[
        Made(TINY, {}, image, named=TENSORS)
        for image in ((3, 16, 16), (3, 24, 32), (3, 40, 40), (3, 64, 64), (3, 16, 64), (3, 30, 32))
    ],
    Made(
        TINY,
        {"dynamic_img_size": True},
        named=("dynamic_img_size",),
        title="vit_tiny_patch16_224, dynamic_img_size, its own size",
    ),
    *[
        Made(TINY, {"dynamic_img_size": True}, image, OF_SIZE, named=("dynamic_img_size",))
        for image in ((3, 16, 16), (3, 24, 48), (3, 64, 64), (3, 16, 64))
    ],
    Made(
        TINY,
        {"dynamic_img_size": True, "dynamic_img_pad": True},
        (3, 30, 27),
        OF_SIZE,
        named=("dynamic_img_size", "dynamic_img_pad", "wrong_shape", "divisor"),
    ),
    Made(TINY, {"num_classes": 1}, named=("num_classes", "classes", "label"), refuse="one class"),
    Made(TINY, {"num_classes": 0}, named=("num_classes", "head.weight", "head"), refuse="no classes"),
    edited(TINY, "no global_pool", {"global_pool": ABSENT, "model_args.global_pool": ABSENT}),
    Made(TINY, {}, edit={"model_args.act_layer": "silu"}, named=("act_layer",)),
    edited(TINY, "global_pool avg outside alone", {"global_pool": "avg"}, ("global_pool",)),
    *[
        named(name)
        for name in (
            "deit_tiny_patch16_224",
            "deit_tiny_distilled_patch16_224",
            "beit_base_patch16_224",
            "flexivit_small",
        )
    ],
]
