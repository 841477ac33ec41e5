//! The three models as they were read, on their way to the same tensors.

use crate::{
    artifacts::{Access, InputFile, Model, ModelFolder},
    engine::{
        network::{Graph, Naming},
        tensors::{Checkpoint, Signature},
        transfer::{
            compatibility::{AdoptedHead, prefix::Prefix},
            shared_vocabulary::{SharedRows, tokens::OwnTokens},
            ties::Untied,
        },
    },
    pipeline::{
        failure::{self, Failure},
        inputs::{
            Configured,
            adopted_head::Headless,
            by_names,
            read::model,
            shared_rows::{
                Listing, NewBase, OldModels, classes, note_on_rows, own_tokens, put_tokenizer,
                vocabulary, with_vocabulary,
            },
            tuning::{self, Tuning},
        },
        job::Job,
    },
};

/// The three as they were read, on their way to the same tensors.
pub struct Three {
    pub base: Checkpoint,
    /// The folder of the old base, and the files that were read of it.
    pub old: ModelFolder,
    pub source_base: Vec<InputFile>,
    pub tuning: Tuning,
    pub target: Model,
    pub naming: Naming,
}

/// The three under the same names, with the same classes and tokens.
pub struct Unified {
    pub three: Three,
    /// The head that a base lacked.
    pub head: Option<AdoptedHead>,
    /// Classes and tokens that the bases number differently.
    pub shared_rows: Vec<SharedRows>,
}

impl Three {
    /// Reads old base, tuning and new base.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn read(job: &Job, access: Access, files: &mut Vec<InputFile>) -> Result<Self, Failure> {
        let (target, naming) = model(access, "/target/base", &job.spec.target.base, files)?;
        let (base, _) = model(access, "/source/base", &job.spec.source.base, files)?;
        let tuning = tuning::read(job, access, &base, files)?;
        let Model {
            checkpoint: base,
            inputs: source_base,
            folder: old,
        } = base;

        Ok(Self {
            base,
            old,
            source_base,
            tuning,
            target,
            naming,
        })
    }

    /// Brings the three to the same tensors: names first, then an output matrix of their own, tokens that the
    /// tuning added, a head that a base lacks, and last the order of classes and tokens.
    ///
    /// # Errors
    /// What is wrong with a tokenizer, or with the network of one of them.
    pub fn unified(
        mut self,
        access: Access,
        files: &mut Vec<InputFile>,
    ) -> Result<Unified, Failure> {
        self.unify_names();
        self.untie();
        let own_tokens = self.own_tokens(access, files)?;
        let head = self.headless().adopt()?;
        self.name_what_is_left_out();

        let numbered = Numbered {
            tokens_are_told: own_tokens.is_some(),
            has_new_head: head.is_some(),
        };
        let mut shared_rows = self.share_rows(access, numbered, files)?;
        shared_rows.extend(own_tokens.map(|tokens| tokens.shared));

        Ok(Unified {
            three: self,
            head,
            shared_rows,
        })
    }

    /// Gives the bases the tuned model's prefix before their names, or takes it away, where no family says what
    /// it is.
    fn unify_names(&mut self) {
        let Self {
            base,
            tuning,
            target,
            naming,
            ..
        } = self;
        let tuned = tuning.last().signature();
        if !by_names::is(Configured {
            config: &tuning.config,
            signature: &tuned,
        }) {
            return;
        }

        if let Some(prefix) = Prefix::find(&base.signature(), &tuned) {
            *base = renamed(base, &prefix, &tuned);
        }
        let own = target.checkpoint.signature();
        if let Some(prefix) = Prefix::find(&own, &tuned) {
            *naming = naming.renamed_inside(&own, |name| prefix.renamed(name, &tuned));
            target.checkpoint = renamed(&target.checkpoint, &prefix, &tuned);
        }

        tuning
            .notes
            .extend(by_names::notes(&tuning.config, &target.folder.config));
    }

    /// Gives all an output matrix of their own where some have one.
    fn untie(&mut self) {
        let signatures =
            [&self.base, self.tuning.last(), &self.target.checkpoint].map(Checkpoint::signature);
        let configs = [
            &self.old.config,
            &self.tuning.config,
            &self.target.folder.config,
        ];
        let [old, tuned, new] = [0, 1, 2].map(|i| Configured {
            config: configs[i],
            signature: &signatures[i],
        });

        let Some(untied) = Untied::find([old, tuned, new], tuned) else {
            return;
        };
        self.base = untied.on(&self.base);
        self.old.config = untied.on_config(&self.old.config);
        self.target.checkpoint = untied.on(&self.target.checkpoint);
        self.target
            .folder
            .set_config(untied.on_config(&self.target.folder.config));

        self.naming = self.naming.under_own_names();
        let Tuning {
            config,
            checkpoints,
            notes,
            ..
        } = &mut self.tuning;
        *config = untied.on_config(config);
        checkpoints
            .iter_mut()
            .for_each(|checkpoint| *checkpoint = untied.on(checkpoint));
        notes.push(UNTIED.to_owned());
    }

    /// Makes room for the tokens that the tuning added.
    fn own_tokens(
        &mut self,
        access: Access,
        files: &mut Vec<InputFile>,
    ) -> Result<Option<OwnTokens>, Failure> {
        let Self {
            base,
            old,
            tuning,
            target,
            ..
        } = self;
        let signatures = [&*base, tuning.last(), &target.checkpoint].map(Checkpoint::signature);
        let files_of = [
            &old.other_files,
            &tuning.other_files,
            &target.folder.other_files,
        ];

        let models = [0, 1, 2].map(|i| Listing {
            files: files_of[i],
            signature: &signatures[i],
        });
        let found = own_tokens(access.storage.blocking(), &tuning.config, models)?;
        let Some((tokens, read)) = found else {
            return Ok(None);
        };

        files.extend(read);
        *base = tokens.on_base(base, tuning.last());
        tuning
            .checkpoints
            .iter_mut()
            .for_each(|point| *point = tokens.on_tuned(point));
        target.checkpoint = tokens.on_target(&target.checkpoint);
        target
            .folder
            .set_config(with_vocabulary(&target.folder.config, tokens.len()));

        tuning.notes.push(put_tokenizer(
            &mut target.folder,
            &tuning.other_files,
            &tokens,
        ));

        Ok(Some(tokens))
    }

    fn headless(&mut self) -> Headless<'_> {
        let Self {
            base,
            old,
            tuning,
            target,
            naming,
            ..
        } = self;
        Headless {
            base,
            old_config: &old.config,
            tuning,
            target,
            naming,
        }
    }

    fn name_what_is_left_out(&mut self) {
        let left_out = &self.target.folder.left_out;
        if !left_out.is_empty() {
            self.tuning.notes.push(format!(
                "of the new base's folder these are left out, because they are, or may be, its weights \
                 in another form, or those of a module that reads channels which were moved: {}",
                left_out.join(", ")
            ));
        }
    }

    /// Brings the old base and its tuning into the new base's order of classes and tokens.
    fn share_rows(
        &mut self,
        access: Access,
        numbered: Numbered,
        files: &mut Vec<InputFile>,
    ) -> Result<Vec<SharedRows>, Failure> {
        let Self {
            base,
            old,
            tuning,
            target,
            ..
        } = self;
        let wanted = target.checkpoint.signature();
        let graph = Graph::from_config(&target.folder.config, &wanted)
            .and_then(|graph| graph.resolve(&wanted).map(|_| graph));
        let found = match graph {
            Ok(graph) => {
                let base = base.signature();
                let old = OldModels {
                    folder: old,
                    tuned_config: &tuning.config,
                    signature: &base,
                };
                let new = NewBase {
                    folder: &target.folder,
                    graph: &graph,
                    signature: &wanted,
                };
                let storage = access.storage.blocking();
                let mut found = Vec::from_iter(classes(old, new));
                if !numbered.tokens_are_told {
                    found.extend(vocabulary(storage, old, new, files)?);
                }
                found
            }
            // With the head of another it may not fit; what differs is named below.
            Err(_) if numbered.has_new_head => Vec::new(),
            // A fault of the new base's own is named before its differences from the others.
            Err(error) => {
                let place = target.folder.location.to_string();
                return Err(failure::graph("/target/base", &place)(error));
            }
        };

        for rows in &found {
            tuning.notes.extend(note_on_rows(rows));
            *base = rows.on(base);
            tuning
                .checkpoints
                .iter_mut()
                .for_each(|checkpoint| *checkpoint = rows.on(checkpoint));
        }

        Ok(found)
    }
}

/// What is known of classes and tokens before the bases' own are compared.
struct Numbered {
    /// Tokens were told apart with those that the tuning added.
    tokens_are_told: bool,
    /// The bases have the tuned model's head.
    has_new_head: bool,
}

const UNTIED: &str = "an output matrix stands beside the embedding in one of the three models, and is the \
                      embedding in another: the result has one of its own, the new base's (or its \
                      embedding) and what the tuning added";

fn renamed(model: &Checkpoint, prefix: &Prefix, than: &Signature) -> Checkpoint {
    model
        .iter()
        .map(|(name, tensor)| (prefix.renamed(name, than), tensor.clone()))
        .collect()
}
