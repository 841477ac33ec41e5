//! What an adapter's tensors change, by the tensors of its base.
//!
//! Names begin with `base_model.model.` and are those of modules in memory; behind a module stand its factors
//! (`lora_A.weight`, `lora_embedding_A` …), or what was tuned whole: parameters of a module that was trained
//! as a copy, biases, an embedding that was resized. A layer with factors calls its own parameters
//! `base_layer.weight` and `base_layer.bias`.

mod kind;
mod ties;

use std::collections::BTreeMap;

use serde_json::Value;

use kind::{EMBEDDING, Kind, MAGNITUDES};

use super::{refusal::Refusal, settings::Settings};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::{
        network::{
            OUTPUT, is_copy_of, is_of_a_task, is_transposed, tensor_of_module, vocabulary_of,
            wrapper_of,
        },
        tensors::{Signature, TensorInfo},
    },
    storage::Location,
};

const PREFIX: &str = "base_model.model.";

/// What becomes of one tensor of the base, in this order; names are those of the adapter's file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Change {
    /// Stands in the place of the base's.
    pub whole: Option<String>,
    /// The same of other modules that have this tensor: all must be one.
    pub copies: Vec<String>,
    pub product: Option<Product>,
    pub shift: Option<Shift>,
    pub rows: Option<Rows>,
}

/// `+ s · B A`, rescaled by `DoRA`'s magnitude where there is one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Product {
    pub a: String,
    pub b: String,
    pub scale: f64,
    /// The base's is `[in, out]`.
    pub transposed: bool,
    pub magnitude: Option<String>,
}

/// `lora_bias`: a bias of B, scaled as the product is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shift {
    pub bias: String,
    pub scale: f64,
}

/// Rows that were trained by themselves, in place of the base's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub values: String,
    pub indices: Vec<usize>,
}

/// What an adapter changes.
#[derive(Debug)]
pub(super) struct Changes {
    pub by_tensor: BTreeMap<String, Change>,
    /// The base's output matrix is its embedding, and the adapter makes them two.
    pub untied: bool,
}

/// An adapter's headers beside its base's, and what its settings say.
pub(super) struct Reading<'a> {
    pub place: &'a Location,
    pub settings: &'a Settings,
    pub own: &'a Signature,
    pub config: &'a Value,
    pub base: &'a Signature,
}

impl Reading<'_> {
    /// What the adapter changes.
    ///
    /// # Errors
    /// `unexpected_tensor`, `missing_tensor`, `wrong_shape`, `not_implemented`, `malformed_config`,
    /// `empty_trajectory`.
    pub fn changes(&self) -> Result<Changes, ArtifactError> {
        let names: Vec<&str> = self.own.keys().map(String::as_str).collect();
        let wrapper = wrapper_of(&Value::Null, &names);
        let prefix = format!("{wrapper}{PREFIX}");
        if let Some(name) = names.iter().find(|name| !name.starts_with(&prefix)) {
            let detail = format!("does not begin with {PREFIX}");
            return Err(self.fault(FailureCode::UnexpectedTensor, name, detail));
        }

        let plain: Vec<&str> = names.iter().map(|name| &name[prefix.len()..]).collect();
        let inner = wrapper_of(self.config, &plain);
        let mut changes = BTreeMap::new();

        // What stands in a tensor's place comes before what is added to it.
        for wholes in [true, false] {
            for (name, plain) in names.iter().zip(&plain) {
                let kind = Kind::of(&plain[inner.len()..]);
                if matches!(kind, Kind::Whole(_)) == wholes {
                    self.add(&mut changes, name, kind)?;
                }
            }
        }

        if changes.is_empty() {
            let detail = "the adapter holds no tensors";
            return Err(ArtifactError::fault(
                FailureCode::EmptyTrajectory,
                self.place,
                detail,
            ));
        }

        for (tensor, change) in &changes {
            self.check_copies(tensor, change)?;
        }
        let untied = self.settle_ties(&mut changes);
        Ok(Changes {
            by_tensor: changes,
            untied,
        })
    }

    fn add(
        &self,
        changes: &mut BTreeMap<String, Change>,
        name: &str,
        kind: Kind,
    ) -> Result<(), ArtifactError> {
        match kind {
            Kind::Ignored => {}
            Kind::Part { end, of } => {
                let stem = name.strip_suffix(end).unwrap_or(name);
                if !of
                    .iter()
                    .any(|a| self.own.contains_key(&format!("{stem}{a}")))
                {
                    let detail = "is there without A".to_owned();
                    return Err(self.fault(FailureCode::UnexpectedTensor, name, detail));
                }
            }
            Kind::Whole(plain) => {
                let (tensor, _) = self.of_base(name, &plain, true)?;
                let is_copy = is_copy_of(self.config, &plain, &tensor);
                let change: &mut Change = changes.entry(tensor).or_default();
                if is_copy {
                    change.copies.push(name.to_owned());
                }
                // The same is saved twice where a module's biases are trained beside its copy.
                if change.whole.is_none() || name.ends_with(&plain) {
                    change.whole = Some(name.to_owned());
                }
            }
            Kind::Bias(module) => {
                let (tensor, shape) = self.of_base(name, &format!("{module}.bias"), false)?;
                self.same_shape(name, &self.own[name].shape, &shape)?;
                let scale = self.settings.scale(module).map_err(self.refused(name))?;
                let shift = Some(Shift {
                    bias: name.to_owned(),
                    scale,
                });
                changes.entry(tensor).or_default().shift = shift;
            }
            Kind::Factors { module, ends } => {
                let (tensor, shape) = self.of_base(name, &format!("{module}.weight"), false)?;
                let shape = self.whole_shape(changes, &tensor, shape);
                let product = self.product(name, module, ends, &shape)?;
                changes.entry(tensor).or_default().product = Some(product);
            }
            Kind::Tokens(module) => {
                let (tensor, shape) = self.of_base(name, &format!("{module}.weight"), false)?;
                let shape = self.whole_shape(changes, &tensor, shape);
                let rows = self.rows(name, module, &shape)?;
                changes.entry(tensor).or_default().rows = Some(rows);
            }
        }
        Ok(())
    }

    /// A base's tensor by its module's name, with its shape. Of what is whole, a head may be new, or of
    /// another shape, and an embedding may have been resized.
    fn of_base(
        &self,
        name: &str,
        plain: &str,
        is_whole: bool,
    ) -> Result<(String, Vec<usize>), ArtifactError> {
        let tied = self.tied();
        let has = |name: &str| self.base.contains_key(name) || (name == OUTPUT && tied.is_some());
        let tensor = tensor_of_module(self.config, plain, has);
        if !is_whole && is_copy_of(self.config, plain, &tensor) {
            let detail =
                format!("changes one of several modules whose table is {tensor}; here it is one");
            return Err(self.fault(FailureCode::NotImplemented, name, detail));
        }
        let is_output = tensor == OUTPUT && tied.is_some();
        let found = match &tied {
            Some(embedding) if is_output => self.base.get(embedding),
            _ => self.base.get(&tensor),
        };
        let own = &self.own[name].shape;
        let is_head = is_whole && !is_output && is_of_a_task(self.config, None, &tensor);

        match found {
            None if is_head => {
                self.check_task(name)?;
                Ok((tensor, own.clone()))
            }
            None => {
                let detail = format!("changes {tensor}, which the base does not have");
                Err(self.fault(FailureCode::UnexpectedTensor, name, detail))
            }
            Some(found) if is_whole && *own != found.shape => {
                if self.is_resized(&tensor, own, &found.shape) {
                    return Ok((tensor, own.clone()));
                }
                if !is_head {
                    let detail = format!("changes {tensor}, {:?}, by {own:?}", found.shape);
                    return Err(self.fault(FailureCode::WrongShape, name, detail));
                }
                self.check_task(name)?;
                Ok((tensor, own.clone()))
            }
            Some(found) => Ok((tensor, found.shape.clone())),
        }
    }

    /// Whether a tensor's rows are tokens, of which there may be others in number.
    fn is_resized(&self, tensor: &str, own: &[usize], base: &[usize]) -> bool {
        let counts_tokens = tensor == OUTPUT || vocabulary_of(self.config) == Some(tensor);
        counts_tokens && own.len() == 2 && base.len() == 2 && own[1] == base[1]
    }

    fn whole_shape(
        &self,
        changes: &BTreeMap<String, Change>,
        tensor: &str,
        shape: Vec<usize>,
    ) -> Vec<usize> {
        let whole = changes.get(tensor).and_then(|change| change.whole.as_ref());
        whole.map_or(shape, |whole| self.own[whole].shape.clone())
    }

    fn product(
        &self,
        a: &str,
        module: &str,
        ends: [&'static str; 2],
        weight: &[usize],
    ) -> Result<Product, ArtifactError> {
        let stem = a.strip_suffix(ends[0]).unwrap_or(a);
        let b = format!("{stem}{}", ends[1]);
        let Some(TensorInfo { shape: second, .. }) = self.own.get(&b) else {
            return Err(self.fault(
                FailureCode::MissingTensor,
                &b,
                "A is there without B".into(),
            ));
        };

        let rank = self.settings.rank(module).map_err(self.refused(a))?;
        let ([r, read @ ..], [out, s, kernel @ ..]) = (&self.own[a].shape[..], &second[..]) else {
            return Err(self.fault(FailureCode::WrongShape, a, "factors are matrices".into()));
        };
        if read.is_empty() || kernel.iter().any(|&size| size != 1) {
            return Err(self.fault(FailureCode::WrongShape, a, "factors are matrices".into()));
        }
        if *r != rank || *s != rank {
            let detail = format!("r is {rank}, the factors' is {r} and {s}");
            return Err(self.fault(FailureCode::WrongShape, a, detail));
        }

        let transposed = ends == EMBEDDING || is_transposed(self.config, module);
        let changed = if transposed {
            [read, &[*out]].concat()
        } else {
            [&[*out], read].concat()
        };

        self.same_shape(a, &changed, weight)?;
        let magnitude = self.magnitude(stem, *out)?;

        let scale = self.settings.scale(module).map_err(self.refused(a))?;
        Ok(Product {
            a: a.to_owned(),
            b,
            scale,
            transposed,
            magnitude,
        })
    }

    /// The tensor of `DoRA`'s magnitudes, one of each row.
    fn magnitude(&self, stem: &str, rows: usize) -> Result<Option<String>, ArtifactError> {
        let names = MAGNITUDES.iter().map(|end| format!("{stem}{end}"));
        let found = names.into_iter().find(|name| self.own.contains_key(name));
        match &found {
            Some(name) => {
                let values: usize = self.own[name].shape.iter().product();
                self.same_shape(name, &[values], &[rows])?;
            }
            None if self.settings.use_dora => {
                let name = format!("{stem}{}", MAGNITUDES[0]);
                return Err(self.fault(
                    FailureCode::MissingTensor,
                    &name,
                    "use_dora needs it".into(),
                ));
            }
            None => {}
        }
        Ok(found)
    }

    fn rows(&self, name: &str, module: &str, weight: &[usize]) -> Result<Rows, ArtifactError> {
        let shape = &self.own[name].shape;
        let Some(indices) = self.settings.tokens(module) else {
            let detail = "trainable_token_indices does not say which rows these are".to_owned();
            return Err(self.fault(FailureCode::UnexpectedTensor, name, detail));
        };

        let wanted = [&[indices.len()], weight.get(1..).unwrap_or_default()].concat();
        self.same_shape(name, shape, &wanted)?;
        if let Some(row) = indices.iter().find(|row| **row >= weight[0]) {
            let detail = format!("row {row} of {} in trainable_token_indices", weight[0]);
            return Err(self.fault(FailureCode::WrongShape, name, detail));
        }

        Ok(Rows {
            values: name.to_owned(),
            indices,
        })
    }

    /// Of the heads that a base may lack, a classifier's is known.
    fn check_task(&self, tensor: &str) -> Result<(), ArtifactError> {
        match self.settings.task_type.as_deref() {
            None | Some(super::SENTENCES | super::TOKENS) => Ok(()),
            Some(other) => {
                let detail = format!(
                    "is a head that the base does not have, of the task_type {other}; only those of \
                     classifiers, SEQ_CLS and TOKEN_CLS, are known: merge the adapter into its base instead"
                );
                Err(self.fault(FailureCode::NotImplemented, tensor, detail))
            }
        }
    }

    fn same_shape(&self, name: &str, own: &[usize], base: &[usize]) -> Result<(), ArtifactError> {
        if own == base {
            return Ok(());
        }
        Err(self.fault(
            FailureCode::WrongShape,
            name,
            format!("changes {base:?} by {own:?}"),
        ))
    }

    fn refused(&self, name: &str) -> impl Fn(Refusal) -> ArtifactError + use<'_> {
        let name = name.to_owned();
        move |(code, detail)| self.fault(code, &name, detail)
    }

    fn fault(&self, code: FailureCode, name: &str, detail: String) -> ArtifactError {
        ArtifactError::tensor(code, self.place, name, detail)
    }
}
