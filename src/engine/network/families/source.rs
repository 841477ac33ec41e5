//! What a family's builder reads.

use serde_json::Value;

use super::vit::sides;
use crate::{
    network::{error::GraphError, graph::Input},
    tensors::Signature,
};

/// What a builder reads.
pub(super) struct Source<'a> {
    pub config: &'a Value,
    pub signature: &'a Signature,
    /// The shape of the samples that are to be read; by the configuration where it is not known.
    pub sample: Option<&'a [usize]>,
}

impl Source<'_> {
    pub fn has(&self, tensor: &str) -> bool {
        self.signature.contains_key(tensor)
    }

    /// The same file with another configuration, such as a part of its own.
    pub fn with<'b>(&'b self, config: &'b Value) -> Source<'b> {
        Source {
            config,
            signature: self.signature,
            sample: self.sample,
        }
    }

    /// A number among the arguments of timm's constructor, or its default.
    pub fn argument(&self, key: &str, default: f64) -> Result<f64, GraphError> {
        let value = &self.config["model_args"][key];
        if value.is_null() {
            return Ok(default);
        }
        value
            .as_f64()
            .filter(|number| *number > 0.0)
            .ok_or_else(|| GraphError::Malformed {
                detail: format!("model_args.{key}: give a number above 0, not {value}"),
            })
    }

    /// timm's name of the network; a training recipe is appended after a dot.
    pub fn architecture(&self) -> &str {
        let full = self.config["architecture"].as_str().unwrap_or_default();
        full.split('.').next().unwrap_or(full)
    }

    /// Shape of a tensor of this rank.
    pub fn shape<const D: usize>(&self, tensor: &str) -> Result<[usize; D], GraphError> {
        let Some(info) = self.signature.get(tensor) else {
            let node = tensor.trim_end_matches(".weight").to_owned();
            return Err(GraphError::MissingTensor {
                tensor: tensor.to_owned(),
                node,
            });
        };

        info.shape
            .as_slice()
            .try_into()
            .map_err(|_| GraphError::WrongShape {
                tensor: tensor.to_owned(),
                expected: format!("rank {D}"),
                found: info.shape.clone(),
            })
    }

    /// The sample's shape: channels from the first convolution, height and width from the samples
    /// themselves, `pretrained_cfg.input_size` or `input_size` (`[C, H, W]`), else 224 × 224.
    pub fn image(&self, first_convolution: &str) -> Result<Input, GraphError> {
        let [_, channels, _, _] = self.shape(first_convolution)?;
        match self.sample {
            Some(&[own, height, width]) if own == channels => Ok(Input::Image {
                shape: [channels, height, width],
            }),
            _ => self.stated_image(first_convolution),
        }
    }

    /// The sample's shape for a network of Hugging Face that reads images of any size: that of the samples, or of
    /// `image_size`, else 224 × 224.
    pub fn image_of_any_size(&self, first_convolution: &str) -> Result<Input, GraphError> {
        let [_, channels, _, _] = self.shape(first_convolution)?;
        let [height, width] = match (self.sample, &self.config["image_size"]) {
            (Some(&[own, height, width]), _) if own == channels => [height, width],
            (_, Value::Null) => [224, 224],
            (_, size) => sides("image_size", size)?,
        };
        Ok(Input::Image {
            shape: [channels, height, width],
        })
    }

    /// The same by the configuration alone.
    pub fn stated_image(&self, first_convolution: &str) -> Result<Input, GraphError> {
        let [_, channels, _, _] = self.shape(first_convolution)?;
        let places = [
            &self.config["pretrained_cfg"]["input_size"],
            &self.config["input_size"],
        ];
        let size = match places.into_iter().find(|value| !value.is_null()) {
            None => [channels, 224, 224],
            Some(value) => {
                serde_json::from_value(value.clone()).map_err(|_| GraphError::Malformed {
                    detail: format!("input_size: {value} is not [C, H, W]"),
                })?
            }
        };

        Ok(Input::Image {
            shape: [channels, size[1], size[2]],
        })
    }
}
