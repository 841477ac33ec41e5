//! Hugging Face's networks of images, as they are registered.

use super::{
    Family, Names, convnext, dinov2, hugging_face_efficientnet, hugging_face_resnet, mobilenet_v2,
    settings, swin, towers, vit,
};

pub(super) const VIT: Family = Family {
    model_type: "vit",
    build: vit::hugging_face,
    settings: &settings::VIT,
    classifier: ["ViTForImageClassification", "classifier"],
    names: Names {
        heads: &["classifier", "vit.pooler"],
        ..named("vit")
    },
};

pub(super) const RESNET: Family = Family {
    model_type: "resnet",
    build: hugging_face_resnet::build,
    settings: &settings::RESNET,
    classifier: ["ResNetForImageClassification", "classifier.1"],
    names: named("resnet"),
};

pub(super) const CONVNEXT: Family = Family {
    model_type: "convnext",
    build: convnext::hugging_face,
    settings: &settings::CONVNEXT,
    classifier: ["ConvNextForImageClassification", "classifier"],
    names: named("convnext"),
};

pub(super) const CONVNEXT_V2: Family = Family {
    model_type: "convnextv2",
    build: convnext::hugging_face,
    settings: &settings::CONVNEXT,
    classifier: ["ConvNextV2ForImageClassification", "classifier"],
    names: named("convnextv2"),
};

pub(super) const EFFICIENTNET: Family = Family {
    model_type: "efficientnet",
    build: hugging_face_efficientnet::build,
    settings: &settings::EFFICIENTNET,
    classifier: ["EfficientNetForImageClassification", "classifier"],
    names: named("efficientnet"),
};

pub(super) const MOBILENET_V2: Family = Family {
    model_type: "mobilenet_v2",
    build: mobilenet_v2::build,
    settings: &settings::MOBILENET_V2,
    classifier: ["MobileNetV2ForImageClassification", "classifier"],
    names: named("mobilenet_v2"),
};

pub(super) const DINOV2: Family = Family {
    model_type: "dinov2",
    build: dinov2::build,
    settings: &settings::DINOV2,
    classifier: ["Dinov2ForImageClassification", "classifier"],
    names: Names {
        // Of the pre-training: what stands in the place of patches that are hidden.
        buffers: &["dinov2.embeddings.mask_token"],
        ..named("dinov2")
    },
};

pub(super) const DINOV2_WITH_REGISTERS: Family = Family {
    model_type: "dinov2_with_registers",
    build: dinov2::build,
    settings: &settings::DINOV2_WITH_REGISTERS,
    classifier: ["Dinov2WithRegistersForImageClassification", "classifier"],
    names: Names {
        buffers: &["dinov2_with_registers.embeddings.mask_token"],
        ..named("dinov2_with_registers")
    },
};

/// The picture's side of a pair of towers.
pub(super) const CLIP: Family = Family {
    model_type: "clip",
    build: towers::clip,
    settings: &settings::CLIP,
    classifier: ["CLIPForImageClassification", "classifier"],
    names: Names {
        buffers: &["vision_model.embeddings.position_ids"],
        ..named("vision_model")
    },
};

pub(super) const CLIP_VISION: Family = Family {
    model_type: "clip_vision_model",
    build: towers::clip_body,
    settings: &settings::CLIP_VISION,
    classifier: [super::NO_CLASSIFIER, "classifier"],
    names: Names {
        buffers: &["vision_model.embeddings.position_ids"],
        ..named("vision_model")
    },
};

pub(super) const SIGLIP: Family = Family {
    model_type: "siglip",
    build: towers::siglip,
    settings: &settings::SIGLIP,
    classifier: ["SiglipForImageClassification", "classifier"],
    names: Names {
        buffers: &["vision_model.embeddings.position_ids"],
        ..named("vision_model")
    },
};

pub(super) const SWIN: Family = Family {
    model_type: "swin",
    build: swin::hugging_face,
    settings: &settings::SWIN,
    classifier: ["SwinForImageClassification", "classifier"],
    names: Names {
        heads: &["classifier", "decoder"],
        buffers: &[
            "swin.encoder.layers.#.blocks.#.attention.self.relative_position_index",
            // Of the pre-training, as a `decoder` is.
            "swin.embeddings.mask_token",
        ],
        ..named("swin")
    },
};

/// The names of a body below one layer, its classifier.
const fn named(body: &'static str) -> Names {
    Names {
        body,
        heads: &["classifier"],
        buffers: &[],
        tied: None,
        stacked: &[],
    }
}
