//! What a family's builder reads.

use serde_json::Value;

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
