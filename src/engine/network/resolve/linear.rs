//! Linear layers of features, tokens and pixels.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    op::Pair,
    program::{
        Layer, Param,
        layer::{Conv2d, Linear},
    },
};

impl Resolver<'_> {
    pub(super) fn linear(&self, param: &str, transposed: bool) -> Result<Resolved, GraphError> {
        let input = self.one()?;
        let weight = self.weight::<2>(param)?;
        let (tokens, features) = match *input {
            [features] => (None, features),
            [tokens, features] => (Some(tokens), features),
            [channels, height, width] if !transposed => {
                return self.linear_of_pixels(weight, [channels, height, width]);
            }
            _ => {
                let detail = format!("needs an input [F], [S, D] or [C, H, W], not {input:?}");
                return Err(self.fault(detail));
            }
        };

        let [rows, columns] = weight.shape;
        let (outputs, read) = if transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        if read != features {
            let expected = if transposed {
                format!("[{features}, out]")
            } else {
                format!("[out, {features}]")
            };
            return Err(weight.misfit(expected));
        }

        let bias = self.node.op.bias();
        let bias = self.vector(bias.unwrap_or_default(), outputs)?;
        let layer = Layer::Linear(Linear {
            weight,
            bias,
            transposed,
        });

        Ok(Resolved {
            layer,
            output: tokens.into_iter().chain([outputs]).collect(),
        })
    }

    /// A linear layer of every pixel: a convolution whose kernel is one pixel.
    fn linear_of_pixels(
        &self,
        weight: Param<2>,
        input: [usize; 3],
    ) -> Result<Resolved, GraphError> {
        let [channels, height, width] = input;
        let [outputs, inputs] = weight.shape;
        if inputs != channels {
            return Err(weight.misfit(format!("[out, {channels}]")));
        }

        let bias = self.node.op.bias();
        let bias = self.vector(bias.unwrap_or_default(), outputs)?;
        let output = [outputs, height, width];
        let layer = Layer::Conv2d(Conv2d {
            weight: Param {
                name: weight.name,
                shape: [outputs, inputs, 1, 1],
            },
            bias,
            stride: Pair(1, 1),
            padding: Pair(0, 0),
            padding_end: Pair(0, 0),
            dilation: Pair(1, 1),
            groups: 1,
            input,
            output,
        });

        Ok(Resolved {
            layer,
            output: output.to_vec(),
        })
    }
}
