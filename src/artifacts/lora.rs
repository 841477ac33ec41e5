//! A PEFT LoRA adapter (Hu et al., ICLR 2022): `W' = W + s · B A`, on the base it was tuned from.
//!
//! `adapter_config.json` gives rank and alpha ([`settings`]), `adapter_model.safetensors` the factors and, whole,
//! what was tuned beside them ([`changes`]). The merged model ([`merged`]) is what peft's `merge_and_unload` makes
//! of the base, but for one case: there a base whose output matrix is its embedding gets the changes of
//! either in both; here it becomes two tensors, and computes what the adapter computes.
//! What an adapter may hold beside that is refused by name, never left out.
//!
//! The head of a classifier (`modules_to_save`) may be one that the base does not have. Nobody says then
//! what network it belongs to: it is the base's family's classifier, with as many classes as that head
//! has rows.

mod changes;
mod merged;
mod pattern;
mod refusal;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    contract::{
        codes::FailureCode,
        manifest::files::{ADAPTER_CONFIG as CONFIG, ADAPTER_WEIGHTS as WEIGHTS},
    },
    engine::{
        network::{
            ClassOf, Graph, GraphError, OUTPUT, as_classifier, is_of_a_task, missing_classifier,
            tied_embedding, vocabulary_of,
        },
        tensors::{Checkpoint, Signature},
    },
    storage::{Blocking, Location},
};

use super::{
    Access, InputFile,
    error::ArtifactError,
    model::{self, OtherFile},
    tensors,
};
use changes::{Change, Changes, Reading};
use settings::Settings;

const PICKLE: &str = "adapter_model.bin";
const CONFIG_LIMIT: u64 = 1 << 20;
/// peft's words for a classifier of sentences, and of tokens.
const SENTENCES: &str = "SEQ_CLS";
const TOKENS: &str = "TOKEN_CLS";

/// An adapter of which the configuration has been read.
#[derive(Clone, Debug)]
pub struct Adapter {
    location: Location,
    settings: Settings,
    /// What lies beside it: a tokenizer.
    pub other_files: Vec<OtherFile>,
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
    /// `malformed_config`; `not_implemented` for settings that are not built; `pickle_refused`.
    pub fn look(storage: Blocking<'_>, location: &Location) -> Result<Option<Self>, ArtifactError> {
        let listing = storage.list(location)?;
        let Some(file) = model::file_named(&listing, CONFIG) else {
            return Ok(None);
        };
        if model::has_weights(&listing) {
            return Ok(None); // a merged model that kept the configuration
        }

        if model::file_named(&listing, WEIGHTS).is_none()
            && model::file_named(&listing, PICKLE).is_some()
        {
            let detail = format!(
                "{PICKLE:?} is a pickle, which is never opened; turn it into safetensors with \
                 `retune convert {PICKLE} DIR`"
            );
            return Err(ArtifactError::fault(
                FailureCode::PickleRefused,
                location,
                detail,
            ));
        }

        let bytes = storage.read_small(&file.location, CONFIG_LIMIT)?;
        let settings = Settings::read(&bytes)
            .map_err(|(code, detail)| ArtifactError::fault(code, &file.location, detail))?;
        let other_files = model::files_beside(&listing);

        Ok(Some(Self {
            location: location.clone(),
            settings,
            other_files,
        }))
    }

    /// Configuration and headers of the tuned model, from the adapter's headers and its base's.
    ///
    /// # Errors
    /// As [`Adapter::open`], for what headers can show.
    pub fn check(
        &self,
        storage: Blocking<'_>,
        config: &Value,
        base: &Signature,
    ) -> Result<(Value, Signature), ArtifactError> {
        let place = self.weights()?;
        let signature = tensors::read_header(storage, &place)?.signature();
        self.tuned(&place, &signature, config, base)
            .map(|tuned| (tuned.config, tuned.signature))
    }

    /// The tuned model and its configuration: the base with the adapter merged into it. What products
    /// change is f32.
    ///
    /// # Errors
    /// `unexpected_tensor`, `missing_tensor`, `wrong_shape`, `not_finite`, `not_implemented` for the
    /// heads of other tasks than classification, or as `tensors::open`.
    pub fn open(
        &self,
        access: &Access<'_>,
        config: &Value,
        base: &Checkpoint,
    ) -> Result<(Checkpoint, Value, Vec<InputFile>), ArtifactError> {
        let place = self.weights()?;
        let (_, settings) = access.fetch(&self.location.child(CONFIG)?)?;
        let (file, input) = access.fetch(&place)?;
        let own = tensors::open(&file.path, &place)?;
        tensors::check_finite(&own, &place)?;

        let tuned = self.tuned(&place, &own.signature(), config, &base.signature())?;
        let kept = base
            .iter()
            .filter(|(name, _)| tuned.signature.contains_key(*name));
        let mut merged: Checkpoint = kept.map(|(name, t)| (name.to_owned(), t.clone())).collect();
        let tied = tied_embedding(config);

        for (name, change) in tuned.changes {
            change.check_copies(&own, &place)?;
            let of = base.get(&name).or_else(|| base.get(tied.as_deref()?));
            if let Some(tensor) = change.of(of, &own) {
                merged.insert(name, tensor);
            }
        }

        Ok((merged, tuned.config, vec![settings, input]))
    }

    fn weights(&self) -> Result<Location, ArtifactError> {
        Ok(self.location.child(WEIGHTS)?)
    }

    /// What the adapter makes of a base, which is given by its configuration and headers.
    fn tuned(
        &self,
        place: &Location,
        own: &Signature,
        config: &Value,
        base: &Signature,
    ) -> Result<Tuned, ArtifactError> {
        let settings = &self.settings;
        let reading = Reading {
            place,
            settings,
            own,
            config,
            base,
        };
        let Changes {
            by_tensor: mut changes,
            untied,
        } = reading.changes()?;

        let (mut config, mut signature) = (config.clone(), base.clone());
        if untied && let Some(info) = tied_embedding(&config).and_then(|name| base.get(&name)) {
            signature.insert(OUTPUT.to_owned(), info.clone());
            config["tie_word_embeddings"] = json!(false);
        }

        let mut has_new_head = false;
        for (name, change) in &changes {
            let Some(whole) = &change.whole else { continue };
            let same = signature
                .get(name)
                .is_some_and(|found| found.shape == own[whole].shape);
            if same {
                continue;
            }
            signature.insert(name.clone(), own[whole].clone());
            if vocabulary_of(&config) == Some(name) {
                config["vocab_size"] = json!(own[whole].shape[0]);
            } else if name != OUTPUT {
                has_new_head = true;
            }
        }

        if has_new_head {
            let of_tokens = settings.task_type.as_deref() == Some(TOKENS);
            let of = if of_tokens {
                ClassOf::EveryToken
            } else {
                ClassOf::Sample
            };
            with_head(place, &mut config, &mut signature, of)?;
            changes.retain(|name, _| signature.contains_key(name));
        } else {
            self.check_has_head(place, &config, &signature)?;
        }

        Ok(Tuned {
            config,
            signature,
            changes,
        })
    }

    /// Refuses a classifier's adapter whose head neither it nor its base has. Of itself peft saves heads that are
    /// called `classifier` or `score`; any other is drawn at random whenever such an adapter is loaded.
    fn check_has_head(
        &self,
        place: &Location,
        config: &Value,
        tensors: &Signature,
    ) -> Result<(), ArtifactError> {
        let task = self.settings.task_type.as_deref().unwrap_or_default();
        let of = match task {
            SENTENCES => ClassOf::Sample,
            TOKENS => ClassOf::EveryToken,
            _ => return Ok(()),
        };
        let Some(module) = missing_classifier(config, tensors, of) else {
            return Ok(());
        };

        let detail = format!(
            "is neither in the adapter nor in its base, though task_type is {task}: of itself peft keeps heads called \
             classifier or score; tune with modules_to_save=[{module:?}]"
        );
        Err(ArtifactError::tensor(
            FailureCode::MissingTensor,
            place,
            module,
            detail,
        ))
    }
}

/// The configuration of a base's classifier, and its headers without those of other tasks.
fn with_head(
    place: &Location,
    config: &mut Value,
    signature: &mut Signature,
    of: ClassOf,
) -> Result<(), ArtifactError> {
    let Some(classifier) = as_classifier(config, signature, of) else {
        let detail = format!(
            "holds a head that the base does not have, and that is not that of a classifier of \
             the base's model_type, {}",
            config["model_type"]
        );
        return Err(ArtifactError::fault(
            FailureCode::NotImplemented,
            place,
            detail,
        ));
    };
    *config = classifier;
    let graph =
        Graph::from_config(config, signature).map_err(|error| no_classifier(place, &error))?;

    // What the base has of other tasks is no part of it.
    let read: BTreeSet<String> = graph.learned().into_iter().collect();
    signature.retain(|name, _| read.contains(name) || !is_of_a_task(config, None, name));
    graph
        .resolve(signature)
        .map_err(|error| no_classifier(place, &error))?;

    Ok(())
}

fn no_classifier(place: &Location, error: &GraphError) -> ArtifactError {
    let detail = format!("and its base do not make a classifier: {error}");
    ArtifactError::fault(error.into(), place, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensors::{DType, TensorInfo};

    #[test]
    #[expect(clippy::too_many_lines, reason = "one case after the other")]
    fn tensors_that_do_not_fit_are_named() {
        let info = |shape: &[usize]| TensorInfo {
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        let base = Signature::from([("fc.weight".into(), info(&[2, 3]))]);
        let place = Location::from_uri("file:///adapter/x").unwrap();
        let settings =
            Settings::read(br#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2}"#).unwrap();
        let code = |own: &[(&str, &[usize])]| {
            let own = own
                .iter()
                .map(|(n, s)| ((*n).to_owned(), info(s)))
                .collect();
            let config = Value::Null;
            let reading = Reading {
                place: &place,
                settings: &settings,
                own: &own,
                config: &config,
                base: &base,
            };
            reading.changes().err().map(|error| error.code())
        };
        let (a, b) = (
            "base_model.model.fc.lora_A.weight",
            "base_model.model.fc.lora_B.weight",
        );
        assert_eq!(code(&[(a, &[1, 3]), (b, &[2, 1])]), None);
        assert_eq!(code(&[(a, &[1, 3])]), Some(FailureCode::MissingTensor));
        assert_eq!(
            code(&[(a, &[1, 4]), (b, &[2, 1])]),
            Some(FailureCode::WrongShape)
        );
        assert_eq!(
            code(&[(a, &[2, 3]), (b, &[2, 2])]),
            Some(FailureCode::WrongShape)
        );
        assert_eq!(code(&[(b, &[2, 1])]), Some(FailureCode::UnexpectedTensor));
        assert_eq!(
            code(&[("fc.weight", &[2, 3])]),
            Some(FailureCode::UnexpectedTensor)
        );
        assert_eq!(code(&[("base_model.model.fc.weight", &[2, 3])]), None);
        assert_eq!(
            code(&[("base_model.model.fc.base_layer.weight", &[2, 3])]),
            None
        );
        let magnitude = "base_model.model.fc.lora_magnitude_vector";
        assert_eq!(
            code(&[(magnitude, &[2])]),
            Some(FailureCode::UnexpectedTensor)
        );
        assert_eq!(
            code(&[(a, &[1, 3]), (b, &[2, 1]), (magnitude, &[3])]),
            Some(FailureCode::WrongShape)
        );
        let tokens = "base_model.model.fc.token_adapter.trainable_tokens_delta";
        assert_eq!(
            code(&[(tokens, &[1, 3])]),
            Some(FailureCode::UnexpectedTensor)
        );

        assert_eq!(code(&[]), Some(FailureCode::EmptyTrajectory));
    }

    /// peft knows a head by the names `classifier` and `score`: that of T5 and BART is lost without a word.
    #[test]
    fn a_classifier_whose_head_nobody_has_is_refused() {
        let info = |shape: &[usize]| TensorInfo {
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        let layer = "encoder.block.0.layer.0.SelfAttention.q";
        let base = Signature::from([(format!("transformer.{layer}.weight"), info(&[4, 4]))]);
        let own = ["lora_A", "lora_B"].map(|end| {
            let shape = if end == "lora_A" { [1, 4] } else { [4, 1] };
            (
                format!("base_model.model.{layer}.{end}.weight"),
                info(&shape),
            )
        });
        let own = Signature::from(own);
        let place = Location::from_uri("file:///adapter/x").unwrap();
        let config = json!({"model_type": "t5", "architectures": ["T5Model"]});
        let tuned = |task: &str| {
            let settings = json!({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "task_type": task})
                .to_string();
            let adapter = Adapter {
                location: place.clone(),
                settings: Settings::read(settings.as_bytes()).unwrap(),
                other_files: Vec::new(),
            };
            adapter.tuned(&place, &own, &config, &base).map(|_| ())
        };

        let error = tuned(SENTENCES).unwrap_err();
        assert_eq!(error.code(), FailureCode::MissingTensor);
        let said = error.to_string();
        assert!(
            said.contains("modules_to_save=[\"classification_head\"]"),
            "{said}"
        );
        assert!(
            tuned(TOKENS)
                .unwrap_err()
                .to_string()
                .contains("[\"classifier\"]")
        );
        tuned("FEATURE_EXTRACTION").unwrap();
    }
}
