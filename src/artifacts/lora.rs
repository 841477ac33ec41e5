//! A PEFT LoRA adapter (Hu et al., ICLR 2022): `W' = W + s · B A`, on the base it was tuned from.
//!
//! A bias of B is added to the layer's. `adapter_config.json` gives rank and alpha, `adapter_model.safetensors` the factors
//! `base_model.model.<module>.lora_A.weight` `[r, in]` and `….lora_B.weight` `[out, r]`, and, under
//! `base_model.model.<tensor>`, tensors that were tuned whole (a head, biases). What an adapter may
//! hold beside that is refused by name, never left out.
//!
//! The head of a classifier (`modules_to_save`) may be one that the base does not have. Nobody says then
//! what network it belongs to: it is the base's family's classifier, with as many classes as that head
//! has rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    engine::network::{
        Checkpoint, DType, Elements, Graph, GraphError, HostTensor, Signature, as_classifier,
        is_of_a_task,
    },
    storage::{Blocking, Location},
};

use super::{Access, InputFile, error::ArtifactError, model, tensors};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";
const CONFIG_LIMIT: u64 = 1 << 20;
/// Values that a task computes at least.
const MIN_LEN: usize = 1 << 12;

/// An adapter of which the configuration has been read.
#[derive(Clone, Debug)]
pub struct Adapter {
    location: Location,
    settings: Settings,
}

#[derive(Clone, Debug, Deserialize)]
struct Settings {
    peft_type: String,
    #[serde(default)]
    task_type: Option<String>,
    r: u32,
    lora_alpha: f64,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    rank_pattern: BTreeMap<String, u32>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

/// One change of one tensor of the base.
enum Change {
    /// Names of A and B.
    Product(String, String),
    /// `lora_bias`: the name of B's bias.
    Bias(String),
    Whole(String),
}

/// A tuned model: its configuration, its headers and what makes it of its base.
struct Tuned {
    config: Value,
    signature: Signature,
    changes: BTreeMap<String, Change>,
}

impl Adapter {
    /// The adapter at a location, if that is what is there.
    ///
    /// # Errors
    /// `malformed_config`; `not_implemented` for kinds of adapters that are not plain LoRA.
    pub fn look(storage: Blocking<'_>, location: &Location) -> Result<Option<Self>, ArtifactError> {
        let listing = storage.list(location)?;
        let Some(file) = model::file_named(&listing, CONFIG) else { return Ok(None) };
        if model::has_weights(&listing) {
            return Ok(None); // a merged model that kept the configuration
        }
        let bytes = storage.read_small(&file.location, CONFIG_LIMIT)?;
        let malformed =
            |detail: String| ArtifactError::fault("malformed_config", &file.location, detail);
        let settings: Settings =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if settings.r == 0 {
            return Err(malformed("r must be at least 1".into()));
        }
        let unknown = if settings.peft_type != "LORA" {
            Some("this peft_type; LORA is")
        } else if settings.use_dora {
            Some("use_dora")
        } else if !settings.rank_pattern.is_empty() || !settings.alpha_pattern.is_empty() {
            Some("rank_pattern and alpha_pattern")
        } else {
            None
        };
        if let Some(what) = unknown {
            let detail =
                format!("{what} is not implemented; merge the adapter into its base instead");
            return Err(ArtifactError::fault("not_implemented", &file.location, detail));
        }
        Ok(Some(Self { location: location.clone(), settings }))
    }

    /// Configuration and headers of the tuned model, from the adapter's headers and its base's.
    ///
    /// # Errors
    /// As [`Adapter::open`], for what headers can show.
    pub fn check(
        &self,
        storage: Blocking<'_>,
        base: (&Value, &Signature),
    ) -> Result<(Value, Signature), ArtifactError> {
        let place = self.weights()?;
        let signature = tensors::read_header(storage, &place)?.signature();
        self.tuned(&place, &signature, base).map(|tuned| (tuned.config, tuned.signature))
    }

    /// The tuned model and its configuration: the base with the adapter merged into it. Changed tensors
    /// are f32.
    ///
    /// # Errors
    /// `unexpected_tensor`, `missing_tensor`, `wrong_shape`, `not_finite`, `not_implemented` for the
    /// heads of other tasks than classification, or as `tensors::open`.
    pub fn open(
        &self,
        access: &Access<'_>,
        (config, base): (&Value, &Checkpoint),
    ) -> Result<(Checkpoint, Value, Vec<InputFile>), ArtifactError> {
        let place = self.weights()?;
        let (_, settings) = access.fetch(&self.location.child(CONFIG)?)?;
        let (file, input) = access.fetch(&place)?;
        let factors = tensors::open(&file.path, &place)?;
        tensors::check_finite(&factors, &place)?;
        let tuned = self.tuned(&place, &factors.signature(), (config, &base.signature()))?;
        let kept = base.iter().filter(|(name, _)| tuned.signature.contains_key(*name));
        let mut merged: Checkpoint = kept.map(|(name, t)| (name.to_owned(), t.clone())).collect();
        for (name, change) in tuned.changes {
            let tensor = match change {
                Change::Whole(own) => factors[&own].clone(),
                Change::Bias(own) => {
                    let zero = vec![0.0; base[&name].len()];
                    let zero = HostTensor::from_f32(base[&name].shape().to_vec(), zero);
                    let plain = base[&name].f32().into_owned();
                    let plain = HostTensor::from_f32(base[&name].shape().to_vec(), plain);
                    plain.shifted(&zero, &factors[&own], self.scale())
                }
                Change::Product(a, b) => self.added(&base[&name], &factors[&a], &factors[&b]),
            };
            merged.insert(name, tensor);
        }
        Ok((merged, tuned.config, vec![settings, input]))
    }

    fn weights(&self) -> Result<Location, ArtifactError> {
        Ok(self.location.child(WEIGHTS)?)
    }

    /// `alpha / r`, or `alpha / √r` (rank-stabilised LoRA, Kalajdzievski 2023).
    fn scale(&self) -> f64 {
        let rank = f64::from(self.settings.r);
        self.settings.lora_alpha / if self.settings.use_rslora { rank.sqrt() } else { rank }
    }

    /// What the adapter makes of a base.
    fn tuned(
        &self,
        place: &Location,
        own: &Signature,
        (config, base): (&Value, &Signature),
    ) -> Result<Tuned, ArtifactError> {
        let mut changes = self.changes(place, own, (config, base))?;
        let (config, mut signature) = (config.clone(), base.clone());
        for (name, change) in &changes {
            if let Change::Whole(whole) = change
                && base.get(name).is_none_or(|found| found.shape != own[whole].shape)
            {
                signature.insert(name.clone(), own[whole].clone());
            }
        }
        if signature == *base {
            return Ok(Tuned { config, signature, changes });
        }
        let Some(config) = as_classifier(&config, &signature) else {
            let detail = format!(
                "holds a head that the base does not have, and that is not that of a classifier of \
                 the base's model_type, {}",
                config["model_type"]
            );
            return Err(ArtifactError::fault("not_implemented", place, detail));
        };
        let fault = |error: GraphError| {
            let detail = format!("and its base do not make a classifier: {error}");
            ArtifactError::fault(error.code(), place, detail)
        };
        let graph = Graph::from_config(&config, &signature).map_err(fault)?;
        // What the base has of other tasks is no part of it.
        let read: BTreeSet<String> = graph.learned().into_iter().collect();
        signature.retain(|name, _| read.contains(name) || !is_of_a_task(&config, None, name));
        graph.shapes(&signature).map_err(fault)?;
        changes.retain(|name, _| signature.contains_key(name));
        Ok(Tuned { config, signature, changes })
    }

    /// What the adapter changes, by the base's tensor or by that of a head.
    fn changes(
        &self,
        place: &Location,
        own: &Signature,
        (config, base): (&Value, &Signature),
    ) -> Result<BTreeMap<String, Change>, ArtifactError> {
        let fault = |code, name: &str, detail: String| {
            Err(ArtifactError::tensor(code, place, name, detail))
        };
        let mut changes = BTreeMap::new();
        for (name, info) in own {
            let Some(plain) = name.strip_prefix(PREFIX) else {
                return fault("unexpected_tensor", name, format!("does not begin with {PREFIX}"));
            };
            if plain
                .strip_suffix(".lora_B.weight")
                .is_some_and(|module| own.contains_key(&format!("{PREFIX}{module}.lora_A.weight")))
            {
                continue; // seen with its A
            }
            let (tensor, change, expected) = match plain.strip_suffix(".lora_A.weight") {
                Some(module) => {
                    let b = format!("{PREFIX}{module}.lora_B.weight");
                    let Some(other) = own.get(&b) else {
                        return fault("missing_tensor", &b, "A is there without B".into());
                    };
                    let rank = self.settings.r as usize;
                    let ([r, read], [out, s]) = (&info.shape[..], &other.shape[..]) else {
                        return fault("wrong_shape", name, "factors are matrices".into());
                    };
                    if *r != rank || *s != rank {
                        let detail = format!("r is {rank}, the factors' is {r} and {s}");
                        return fault("wrong_shape", name, detail);
                    }
                    let weight =
                        if self.settings.fan_in_fan_out { [*read, *out] } else { [*out, *read] };
                    (format!("{module}.weight"), Change::Product(name.clone(), b), weight.to_vec())
                }
                None => match plain.strip_suffix(".lora_B.bias") {
                    Some(module) => {
                        let bias = format!("{module}.bias");
                        (bias, Change::Bias(name.clone()), info.shape.clone())
                    }
                    None => (plain.to_owned(), Change::Whole(name.clone()), info.shape.clone()),
                },
            };
            let is_head = matches!(change, Change::Whole(_)) && is_of_a_task(config, None, &tensor);
            match base.get(&tensor) {
                found if is_head && found.is_none_or(|found| found.shape != expected) => {
                    self.check_task(place, name)?;
                    changes.insert(tensor, change);
                }
                None => {
                    let detail = format!("changes {tensor}, which the base does not have");
                    return fault("unexpected_tensor", name, detail);
                }
                Some(found) if found.shape != expected => {
                    let detail = format!("changes {tensor}, {:?}, by {expected:?}", found.shape);
                    return fault("wrong_shape", name, detail);
                }
                Some(_) => {
                    changes.insert(tensor, change);
                }
            }
        }
        if changes.is_empty() {
            let detail = "the adapter holds no tensors";
            return Err(ArtifactError::fault("empty_trajectory", place, detail));
        }
        Ok(changes)
    }

    /// Of the heads that a base may lack, a classifier's is known.
    fn check_task(&self, place: &Location, tensor: &str) -> Result<(), ArtifactError> {
        match self.settings.task_type.as_deref() {
            None | Some("SEQ_CLS") => Ok(()),
            Some(other) => {
                let detail = format!(
                    "is a head that the base does not have, of the task_type {other}; only that of a \
                     classifier, SEQ_CLS, is known: merge the adapter into its base instead"
                );
                Err(ArtifactError::tensor("not_implemented", place, tensor, detail))
            }
        }
    }

    /// `W + s · B A` (its transpose where the base is `[in, out]`), summed in f64, rounded to f32;
    /// lazy where the base's tensor is.
    fn added(&self, weight: &HostTensor, a: &HostTensor, b: &HostTensor) -> HostTensor {
        let transposed = self.settings.fan_in_fan_out;
        let [w, a, b] = [weight, a, b].map(Clone::clone);
        let merged = Merged { weight: w, a, b, scale: self.scale(), transposed };
        let shape = weight.shape().to_vec();
        if weight.is_lazy() {
            return HostTensor::lazy(DType::F32, shape, Arc::new(merged));
        }
        HostTensor::from_f32(shape, merged.floats(0..weight.len()))
    }
}

/// A weight with the product of an adapter's factors added to it.
#[derive(Debug)]
struct Merged {
    weight: HostTensor,
    /// `[r, in]`
    a: HostTensor,
    /// `[out, r]`
    b: HostTensor,
    scale: f64,
    transposed: bool,
}

impl Elements for Merged {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let (rank, read) = (self.a.shape()[0], self.a.shape()[1]);
        let (a, b, columns) = (self.a.f32(), self.b.f32(), self.weight.shape()[1]);
        let mut values = self.weight.floats(range.clone()).into_owned();
        values.par_iter_mut().enumerate().with_min_len(MIN_LEN).for_each(|(i, value)| {
            let (row, column) = ((range.start + i) / columns, (range.start + i) % columns);
            let (o, i) = if self.transposed { (column, row) } else { (row, column) };
            let product = |k: usize| f64::from(b[o * rank + k]) * f64::from(a[k * read + i]);
            *value = (f64::from(*value) + self.scale * (0..rank).map(product).sum::<f64>()) as f32;
        });
        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        DType::F32.encode(&self.floats(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(fan_in_fan_out: bool, use_rslora: bool) -> Adapter {
        let settings = Settings {
            peft_type: "LORA".into(),
            task_type: None,
            r: 1,
            lora_alpha: 2.0,
            fan_in_fan_out,
            use_rslora,
            use_dora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        };
        Adapter { location: Location::from_uri("file:///adapter/").unwrap(), settings }
    }

    fn tensor(shape: &[usize], values: &[f32]) -> HostTensor {
        HostTensor::from_f32(shape.to_vec(), values.to_vec())
    }

    #[test]
    fn the_product_is_scaled_and_added() {
        let (a, b) = (tensor(&[1, 3], &[1.0, 2.0, 3.0]), tensor(&[2, 1], &[10.0, 1.0]));
        let weight = tensor(&[2, 3], &[0.5; 6]);
        let merged = adapter(false, false).added(&weight, &a, &b);
        assert_eq!(merged.f32().as_ref(), [20.5, 40.5, 60.5, 2.5, 4.5, 6.5]);
        let weight = tensor(&[3, 2], &[0.0; 6]);
        let merged = adapter(true, false).added(&weight, &a, &b);
        assert_eq!(merged.f32().as_ref(), [20.0, 2.0, 40.0, 4.0, 60.0, 6.0]);
        let mut stabilised = adapter(false, true);
        stabilised.settings.r = 4;
        assert!((stabilised.scale() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn tensors_that_do_not_fit_are_named() {
        let info = |shape: &[usize]| tensor(shape, &vec![0.0; shape.iter().product()]).info();
        let base = Signature::from([("fc.weight".into(), info(&[2, 3]))]);
        let place = Location::from_uri("file:///adapter/x").unwrap();
        let code = |own: &[(&str, &[usize])]| {
            let own = own.iter().map(|(n, s)| ((*n).to_owned(), info(s))).collect();
            let found = adapter(false, false).changes(&place, &own, (&Value::Null, &base));
            found.err().map(|error| error.code())
        };
        let (a, b) = ("base_model.model.fc.lora_A.weight", "base_model.model.fc.lora_B.weight");
        assert_eq!(code(&[(a, &[1, 3]), (b, &[2, 1])]), None);
        assert_eq!(code(&[(a, &[1, 3])]), Some("missing_tensor"));
        assert_eq!(code(&[(a, &[1, 4]), (b, &[2, 1])]), Some("wrong_shape"));
        assert_eq!(code(&[(a, &[2, 3]), (b, &[2, 2])]), Some("wrong_shape"));
        assert_eq!(code(&[(b, &[2, 1])]), Some("unexpected_tensor"));
        assert_eq!(code(&[("fc.weight", &[2, 3])]), Some("unexpected_tensor"));
        assert_eq!(code(&[("base_model.model.fc.weight", &[2, 3])]), None);
        assert_eq!(code(&[]), Some("empty_trajectory"));
    }
}
