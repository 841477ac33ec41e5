//! The models of a transfer, brought under one signature: old base, tuning, new base.
//!
//! Every tensor of one must be found in the others, in the same shape. The exceptions are a head that
//! only the tuned model has ([`AdoptedHead`]), classes and tokens that both models name
//! ([`SharedRows`]), and bases that differ in width alone, for the methods that lead from one to the
//! other ([`widths`]).

use super::{
    Configured, TRAJECTORY,
    adopted_head::Headless,
    by_names, computation,
    read::model,
    shared_rows::{
        Listing, NewBase, OldModels, classes, note_on_rows, own_tokens, put_tokenizer, vocabulary,
        with_vocabulary,
    },
    stated::{Files, Stated},
    tuning::{self, Tuning},
};
use crate::{
    artifacts::{Access, InputFile, Model, ModelFolder},
    contract::{
        codes::FailureCode,
        spec::{Method, Methods, Spec, TrajectoryKind},
    },
    engine::{
        network::{Graph, Naming},
        tensors::{Checkpoint, Signature},
        transfer::{
            Trajectory,
            compatibility::{AdoptedHead, Incompatible, NamedSignature, compare, prefix::Prefix},
            shared_vocabulary::{SharedRows, tokens::OwnTokens},
            ties::Untied,
            widths::{self, NamedNetwork},
        },
    },
    pipeline::{
        failure::{self, Failure},
        job::Job,
    },
};

/// Old and new, with the same tensors.
pub struct Bases {
    /// The new base, with the adopted head and its configuration.
    pub target: Model,
    /// What the result's file calls its tensors.
    pub naming: Naming,
    pub trajectory: Trajectory,
    /// The files of the old base.
    pub source_base: Vec<InputFile>,
    /// Tensors of the trajectory's own first checkpoint that are not the old base's.
    pub other_start: usize,
    pub head: Option<AdoptedHead>,
    /// The source's network, where it differs in width.
    pub source_graph: Option<Graph>,
    /// Classes and tokens that the bases number differently.
    pub shared_rows: Vec<SharedRows>,
    /// What was read otherwise than somebody may expect, for the report's warnings.
    pub notes: Vec<String>,
    /// How the old tuned model says that its images are normalised.
    pub stated_by_tuned: Option<Stated>,
}

/// Reads the three and makes them comparable.
///
/// # Errors
/// What is wrong with one of them; `incompatible_models`.
pub fn read(job: &Job, access: Access, files: &mut Vec<InputFile>) -> Result<Bases, Failure> {
    let (target, naming) = model(access, "/target/base", &job.spec.target.base, files)?;
    let (base, _) = model(access, "/source/base", &job.spec.source.base, files)?;
    let tuning = tuning::read(job, access, &base, files)?;
    let Model {
        checkpoint: base,
        inputs: source_base,
        folder: old,
    } = base;

    let mut three = Three {
        base,
        old,
        tuning,
        target,
        naming,
    };
    three.unify_names();
    three.untie();
    let own_tokens = three.own_tokens(access, files)?;
    let head = three.headless().adopt()?;
    three.name_what_is_left_out();
    let numbered = Numbered {
        tokens_are_told: own_tokens.is_some(),
        has_new_head: head.is_some(),
    };
    let mut shared_rows = three.share_rows(access, numbered, files)?;
    shared_rows.extend(own_tokens.map(|tokens| tokens.shared));

    let Three {
        base,
        old,
        tuning,
        target,
        naming,
    } = three;
    let (own, wanted) = (base.signature(), target.checkpoint.signature());
    let before = Configured {
        config: &old.config,
        signature: &own,
    };
    let new = Configured {
        config: &target.folder.config,
        signature: &wanted,
    };
    let source_graph = at_another_width(job.spec, before, new)?;
    let tuned = Configured {
        config: &tuning.config,
        signature: &tuning.last().signature(),
    };
    let update = computation::check(tuned, new)?;
    let is_by_names = by_names::is(tuned);
    let files = Files {
        config: &tuning.config,
        others: &tuning.other_files,
    };
    let stated_by_tuned = Stated::of(access.storage, TRAJECTORY, files)?;
    for checkpoint in &tuning.checkpoints {
        same_as_tuned(
            &checkpoint.signature(),
            &own,
            &wanted,
            source_graph.is_some(),
        )?;
    }

    if is_by_names {
        by_names::check_whole_numbers(&base, tuning.last())?;
    }
    let trajectory = trajectory(job, base, tuning.checkpoints);
    let tensors = head
        .as_ref()
        .map(|head| head.tensors.clone())
        .unwrap_or_default();
    let trajectory = trajectory.with_head(tensors).with_rows(shared_rows.clone());
    let (other_start, mut notes) = (tuning.other_start, tuning.notes);
    notes.extend(update);
    Ok(Bases {
        target,
        naming,
        trajectory,
        source_base,
        other_start,
        head,
        source_graph,
        shared_rows,
        notes,
        stated_by_tuned,
    })
}

/// What is known of classes and tokens before the bases' own are compared.
struct Numbered {
    /// Tokens were told apart with those that the tuning added.
    tokens_are_told: bool,
    /// The bases have the tuned model's head.
    has_new_head: bool,
}

/// The three as they were read, on their way to the same tensors.
struct Three {
    base: Checkpoint,
    old: ModelFolder,
    tuning: Tuning,
    target: Model,
    naming: Naming,
}

impl Three {
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

fn renamed(model: &Checkpoint, prefix: &Prefix, than: &Signature) -> Checkpoint {
    model
        .iter()
        .map(|(name, tensor)| (prefix.renamed(name, than), tensor.clone()))
        .collect()
}

const UNTIED: &str = "an output matrix stands beside the embedding in one of the three models, and is the \
                      embedding in another: the result has one of its own, the new base's (or its \
                      embedding) and what the tuning added";

/// Compares the two bases, given as configuration and headers. `None`: they have the same tensors;
/// otherwise the old one's network, which is the new one's but for its width.
///
/// # Errors
/// `incompatible_models`, also where the job's methods do not lead from one width to another.
pub fn at_another_width(
    spec: &Spec,
    old: Configured,
    new: Configured,
) -> Result<Option<Graph>, Failure> {
    let [source, target] = ["the source's base", "the target's base"];
    let Err(different) = compare(
        NamedSignature {
            name: source,
            signature: old.signature,
        },
        NamedSignature {
            name: target,
            signature: new.signature,
        },
    ) else {
        return Ok(None);
    };
    let graphs = [old, new].map(|model| Graph::from_config(model.config, model.signature));
    let [Ok(of), Ok(than)] = graphs else {
        return Err(failure::incompatible("/source/base")(different));
    };
    let narrow = NamedNetwork {
        name: source,
        graph: &of,
        signature: old.signature,
    };
    let wide = NamedNetwork {
        name: target,
        graph: &than,
        signature: new.signature,
    };
    if widths::compare(narrow, wide).is_err() {
        return Err(failure::incompatible("/source/base")(different));
    }

    if let Methods::Named(methods) = &spec.methods
        && let Some(method) = methods.iter().find(|m| !leads_between_widths(**m, spec))
    {
        return Err(between_widths(
            "/methods",
            &different,
            &format!("not {}", method.name()),
        ));
    }
    if spec.data.as_ref().is_none_or(|data| data.train.is_none()) {
        return Err(between_widths(
            "/data/train",
            &different,
            "all need training samples",
        ));
    }
    Ok(Some(of))
}

fn between_widths(pointer: &str, different: &Incompatible, what: &str) -> Failure {
    let detail = format!(
        "{different}. Between widths only functional, bico and theseus carry over (and gradfix on \
         one of them): {what}"
    );
    Failure::Input {
        code: FailureCode::IncompatibleModels,
        pointer: Some(pointer.to_owned()),
        detail,
    }
}

fn leads_between_widths(method: Method, spec: &Spec) -> bool {
    let carries = if method == Method::Gradfix {
        spec.options.gradfix_on
    } else {
        method
    };
    matches!(carries, Method::Functional | Method::Bico | Method::Theseus)
}

/// A tuned model has its base's tensors: the target's too, unless that differs in width.
pub fn same_as_tuned(
    tuned: &Signature,
    base: &Signature,
    target: &Signature,
    across_widths: bool,
) -> Result<(), Failure> {
    let than = if across_widths {
        NamedSignature {
            name: "the source's base",
            signature: base,
        }
    } else {
        NamedSignature {
            name: "the target's base",
            signature: target,
        }
    };
    compare(
        NamedSignature {
            name: "the tuned model",
            signature: tuned,
        },
        than,
    )
    .map_err(failure::incompatible(TRAJECTORY))
}

fn trajectory(job: &Job, base: Checkpoint, mut checkpoints: Vec<Checkpoint>) -> Trajectory {
    let options = &job.spec.options;
    match (options.trajectory, checkpoints.pop()) {
        (TrajectoryKind::Linear, Some(tuned)) => {
            Trajectory::linear(base, tuned, options.schedule.into(), options.timesteps)
        }
        (_, last) => {
            checkpoints.extend(last);
            Trajectory::stored(base, &checkpoints, options.timesteps)
        }
    }
}
