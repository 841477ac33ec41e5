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
        let mut read = Headers::read(spec, storage)?;
        read.unify_names();
        read.untie();
        let own_tokens = read.own_tokens(storage)?;
        let head = read.adopt_head(spec)?;
        read.share_rows(storage, own_tokens)?;

        let Headers {
            folder,
            target,
            old,
            base,
            tuned,
        } = read;
        let before = Configured {
            config: &old.config,
            signature: &base,
        };
        let after = Configured {
            config: &folder.config,
            signature: &target,
        };

        let across_widths = bases::at_another_width(spec, before, after)?.is_some();
        bases::same_as_tuned(&tuned.signature, &base, &target, across_widths)?;
        Ok(Self {
            folder,
            target,
            base,
            head,
            across_widths,
            checkpoints: tuned.checkpoints,
        })
    }
}

/// The headers as they were read, on their way to the same tensors: the steps of `bases`.
struct Headers {
    folder: ModelFolder,
    target: Signature,
    old: ModelFolder,
    base: Signature,
    tuned: Tuned,
}

impl Headers {
    fn read(spec: &Spec, storage: &Storage) -> Result<Self, Failure> {
        let (folder, target) = headers(storage, "/target/base", &spec.target.base)?;
        let (old, base) = headers(storage, "/source/base", &spec.source.base)?;
        let tuned = tuned(spec, storage, &old, &base)?;
        Ok(Self {
            folder,
            target,
            old,
            base,
            tuned,
        })
    }

    /// Gives the bases the tuned model's prefix before their names, or takes it away.
    fn unify_names(&mut self) {
        if by_names::is(self.tuned.configured()) {
            let tuned = &self.tuned.signature;
            self.base = unified(std::mem::take(&mut self.base), tuned);
            self.target = unified(std::mem::take(&mut self.target), tuned);
        }
    }

    /// Gives all an output matrix of their own where some have one.
    fn untie(&mut self) {
        let tuned = self.tuned.configured();
        let models = [
            Configured {
                config: &self.old.config,
                signature: &self.base,
            },
            Configured {
                config: &self.folder.config,
                signature: &self.target,
            },
            tuned,
        ];
        let Some(untied) = Untied::find(models, tuned) else {
            return;
        };

        self.each_signature(|signature| untied.on_signature(signature));
        for config in [
            &mut self.old.config,
            &mut self.folder.config,
            &mut self.tuned.config,
        ] {
            *config = untied.on_config(config);
        }
    }

    /// Makes room for the tokens that the tuning added, and says whether it has.
    fn own_tokens(&mut self, storage: &Storage) -> Result<bool, Failure> {
        let signatures = [&self.base, &self.tuned.signature, &self.target];
        let files_of = [
            &self.old.other_files,
            &self.tuned.beside,
            &self.folder.other_files,
        ];
        let lists = [0, 1, 2].map(|i| Listing {
            files: files_of[i],
            signature: signatures[i],
        });

        let found = shared_rows::own_tokens(storage.blocking(), &self.tuned.config, lists)?;
        let Some((tokens, _)) = found else {
            return Ok(false);
        };

        self.each_signature(|signature| tokens.on_signature(signature));
        self.folder.config = shared_rows::with_vocabulary(&self.folder.config, tokens.len());
        Ok(true)
    }

    /// Gives the bases the head that they lack.
    fn adopt_head(&mut self, spec: &Spec) -> Result<Option<AdoptedHead>, Failure> {
        let tuned = self.tuned.configured();
        let new_config = &self.folder.config;
        let other = shared_rows::other_classes(tuned.config, &self.old.config, new_config);
        let bases = [&self.base, &self.target];
        let Some(head) = AdoptedHead::find(tuned, bases, new_config, other) else {
            return Ok(None);
        };

        adopted_head::is_a_network(tuned, &spec.source.trajectory)?;

        let tuned = &self.tuned.signature;
        self.base = head.on_signature(std::mem::take(&mut self.base), tuned);
        self.target = head.on_signature(std::mem::take(&mut self.target), tuned);
        self.folder.config = head.config.clone();
        Ok(Some(head))
    }

    /// Brings the old base and its tuning into the new base's order of classes and tokens.
    fn share_rows(&mut self, storage: &Storage, own_tokens: bool) -> Result<(), Failure> {
        let before = OldModels {
            folder: &self.old,
            tuned_config: &self.tuned.config,
            signature: &self.base,
        };
        let after = Entered {
            folder: &self.folder,
            signature: &self.target,
            own_tokens,
        };

        for rows in after.shared_with(before, storage)? {
            self.base = rows.on_signature(std::mem::take(&mut self.base));
            self.tuned.signature = rows.on_signature(std::mem::take(&mut self.tuned.signature));
        }
        Ok(())
    }

    /// Changes the tensors of all three.
    fn each_signature(&mut self, change: impl Fn(Signature) -> Signature) {
        for signature in [&mut self.base, &mut self.tuned.signature, &mut self.target] {
            *signature = change(std::mem::take(signature));
        }
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

impl Tuned {
    fn configured(&self) -> Configured<'_> {
        Configured {
            config: &self.config,
            signature: &self.signature,
        }
    }
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
