//! The three models of a transfer by their headers, brought under one signature as `bases::read` does
//! with their tensors.

use serde_json::Value;

use crate::{
    artifacts::{self, ModelFolder, model::OtherFile},
    contract::spec::Spec,
    engine::{
        network::Graph,
        tensors::Signature,
        transfer::{
            compatibility::{AdoptedHead, prefix::Prefix},
            shared_vocabulary::SharedRows,
            ties::Untied,
        },
    },
    pipeline::{
        failure::{self, Failure},
        inputs::{
            Configured, TRAJECTORY, adopted_head, bases, by_names,
            read::{headers, headers_at, location},
            same_body,
            shared_rows::{self, Listing, NewBase, OldModels},
        },
    },
    storage::Storage,
};

pub struct Models {
    /// The new base, with the adopted head's configuration.
    pub folder: ModelFolder,
    pub target: Signature,
    pub base: Signature,
    pub head: Option<AdoptedHead>,
    pub across_widths: bool,
    /// Points of the trajectory, the old base included.
    pub checkpoints: usize,
}

impl Models {
    pub fn look(spec: &Spec, storage: &Storage) -> Result<Self, Failure> {
        let (mut folder, mut target) = headers(storage, "/target/base", &spec.target.base)?;
        let (mut old, mut base) = headers(storage, "/source/base", &spec.source.base)?;
        let Tuned {
            config: mut tuned_config,
            signature: mut tuned,
            beside,
            checkpoints,
        } = tuned(spec, storage, &old, &base)?;
        if by_names::is(Configured {
            config: &tuned_config,
            signature: &tuned,
        }) {
            (base, target) = (unified(base, &tuned), unified(target, &tuned));
        }
        let models = [
            Configured {
                config: &old.config,
                signature: &base,
            },
            Configured {
                config: &folder.config,
                signature: &target,
            },
            Configured {
                config: &tuned_config,
                signature: &tuned,
            },
        ];
        if let Some(untied) = Untied::find(models, models[2]) {
            (base, target) = (untied.on_signature(base), untied.on_signature(target));
            tuned = untied.on_signature(tuned);
            for config in [&mut old.config, &mut folder.config, &mut tuned_config] {
                *config = untied.on_config(config);
            }
        }

        let signatures = [&base, &tuned, &target];
        let files_of = [&old.other_files, &beside, &folder.other_files];
        let lists = [0, 1, 2].map(|i| Listing {
            files: files_of[i],
            signature: signatures[i],
        });
        let tokens = shared_rows::own_tokens(storage.blocking(), &tuned_config, lists)?;
        let tokens = tokens.map(|(tokens, _)| tokens);
        if let Some(tokens) = &tokens {
            (base, target) = (tokens.on_signature(base), tokens.on_signature(target));
            tuned = tokens.on_signature(tuned);
            folder.config = shared_rows::with_vocabulary(&folder.config, tokens.len());
        }

        let other = shared_rows::other_classes(&tuned_config, &old.config, &folder.config);
        let tuned_model = Configured {
            config: &tuned_config,
            signature: &tuned,
        };
        let head = AdoptedHead::find(tuned_model, [&base, &target], &folder.config, other);
        if let Some(head) = &head {
            adopted_head::is_a_network(tuned_model, &spec.source.trajectory)?;
            (base, target) = (
                head.on_signature(base, &tuned),
                head.on_signature(target, &tuned),
            );
            folder.config = head.config.clone();
        }

        let before = OldModels {
            folder: &old,
            tuned_config: &tuned_config,
            signature: &base,
        };
        let after = Entered {
            folder: &folder,
            signature: &target,
            own_tokens: tokens.is_some(),
        };
        for rows in after.shared_with(before, storage)? {
            base = rows.on_signature(base);
            tuned = rows.on_signature(tuned);
        }

        let before = Configured {
            config: &old.config,
            signature: &base,
        };
        let after = Configured {
            config: &folder.config,
            signature: &target,
        };
        let across_widths = bases::at_another_width(spec, before, after)?.is_some();
        bases::same_as_tuned(&tuned, &base, &target, across_widths)?;
        Ok(Self {
            folder,
            target,
            base,
            head,
            across_widths,
            checkpoints,
        })
    }
}

/// The new base once its headers are those of the job.
struct Entered<'a> {
    folder: &'a ModelFolder,
    signature: &'a Signature,
    /// The tuned model's own vocabulary is taken over.
    own_tokens: bool,
}

impl Entered<'_> {
    /// The rows of heads and vocabularies that this base has in common with the old one; none where no network is known.
    fn shared_with(
        &self,
        before: OldModels<'_>,
        storage: &Storage,
    ) -> Result<Vec<SharedRows>, Failure> {
        let Ok(graph) = Graph::from_config(&self.folder.config, self.signature) else {
            return Ok(Vec::new());
        };
        let after = NewBase {
            folder: self.folder,
            graph: &graph,
            signature: self.signature,
        };
        let mut found = Vec::from_iter(shared_rows::classes(before, after));
        if !self.own_tokens {
            let storage = storage.blocking();
            found.extend(shared_rows::vocabulary(
                storage,
                before,
                after,
                &mut Vec::new(),
            )?);
        }
        Ok(found)
    }
}

/// Headers under the tuned model's prefix.
fn unified(own: Signature, tuned: &Signature) -> Signature {
    let Some(prefix) = Prefix::find(&own, tuned) else {
        return own;
    };
    own.into_iter()
        .map(|(name, info)| (prefix.renamed(&name, tuned), info))
        .collect()
}

/// The tuned model by its headers.
struct Tuned {
    config: Value,
    signature: Signature,
    /// What lies beside it.
    beside: Vec<OtherFile>,
    /// Points of its trajectory.
    checkpoints: usize,
}

fn tuned(
    spec: &Spec,
    storage: &Storage,
    old: &ModelFolder,
    base: &Signature,
) -> Result<Tuned, Failure> {
    let place = location(storage, TRAJECTORY, &spec.source.trajectory)?;
    let trajectory = artifacts::Trajectory::look(storage.blocking(), &place, &old.location)
        .map_err(failure::at(TRAJECTORY))?;
    let (last, checkpoints) = (&trajectory.last().model, trajectory.checkpoints.len());
    let first = &trajectory.checkpoints[0].model;
    if trajectory.list.is_some() && *first != old.location {
        let (folder, own) = headers_at(storage, TRAJECTORY, first)?;
        same_body(
            Configured {
                config: &folder.config,
                signature: &own,
            },
            base,
        )?;
    }

    let adapter =
        artifacts::Adapter::look(storage.blocking(), last).map_err(failure::at(TRAJECTORY))?;
    let (config, signature, beside) = if let Some(adapter) = adapter {
        let (config, signature) = adapter
            .check(storage.blocking(), &old.config, base)
            .map_err(failure::at(TRAJECTORY))?;
        (config, signature, adapter.other_files)
    } else {
        let (folder, signature) = headers_at(storage, TRAJECTORY, last)?;
        (folder.config, signature, folder.other_files)
    };
    Ok(Tuned {
        config,
        signature,
        beside,
        checkpoints,
    })
}
