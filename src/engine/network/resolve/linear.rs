//! Linear layers, of features and of every token.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    program::{Layer, layer::Linear},
};

impl Resolver<'_> {
    pub(super) fn linear(&self, param: &str, transposed: bool) -> Result<Resolved, GraphError> {
        let input = self.one()?;
        let weight = self.weight::<2>(param)?;
        let (tokens, features) = match *input {
            [features] => (None, features),
            [tokens, features] => (Some(tokens), features),
            _ => {
                let detail =
                    format!("needs an input [F] or [S, D], not {input:?}; flatten it first");
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

        let bias = self.vector(format!("{param}.bias"), outputs)?;
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
}
