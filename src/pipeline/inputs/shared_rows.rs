//! Classes and tokens that the three models name: which rows are one, and which are a model's own.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Configured, TRAJECTORY};
use crate::{
    artifacts::{InputFile, ModelFolder, model::OtherFile, names},
    engine::{
        network::Graph,
        tensors::{Signature, TensorInfo},
        transfer::{
            compatibility::{AdoptedHead, OtherClasses},
            shared_vocabulary::{
                Axis, Names, Numbered, SharedRows, named_tensors, none_is_shared, same_numbering,
                tokens::{Numbering, OwnTokens},
            },
        },
    },
    pipeline::failure::{self, Failure},
    storage::Blocking,
};

/// What a model's files say of its tokens, and its headers.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    /// What lies beside the model.
    pub files: &'a [OtherFile],
    pub signature: &'a Signature,
}

/// The tokens that the tuning added, in rows of its own or in the padding of a table, with the lists that were
/// read. Models are given in the order old base, tuned, new base.
///
/// # Errors
/// What keeps the store from answering.
pub fn own_tokens(
    storage: Blocking<'_>,
    tuned: &Value,
    models: [Listing<'_>; 3],
) -> Result<Option<(OwnTokens, Vec<InputFile>)>, Failure> {
    let of_tuned = models[1].signature;
    let Ok(graph) = Graph::from_config(tuned, of_tuned) else {
        return Ok(None);
    };

    let tensors = named_tensors(&graph, of_tuned, Axis::Vocabulary);
    let Some(table) = tensors.iter().find_map(|name| of_tuned.get(name)) else {
        return Ok(None);
    };

    let rows = models.map(|model| rows_as(table, &tensors, model.signature));
    let [Some(old), Some(own), Some(new)] = rows else {
        return Ok(None);
    };
    // Without a list of its own it names no token that the old base lacks.
    if old == own && !names::lists_tokens(models[1].files) {
        return Ok(None);
    }

    let pointers = ["/source/base", TRAJECTORY, "/target/base"];
    let mut lists = Vec::new();
    for (model, pointer) in models.into_iter().zip(pointers) {
        lists.push(names::vocabulary(storage, model.files).map_err(failure::at(pointer))?);
    }

    let names: Vec<Option<&Names>> = lists
        .iter()
        .map(|list| list.as_ref().map(|(names, _)| names))
        .collect();
    let same = names[0] == names[2] && (names[0].is_some() || old == new);

    let numberings = [0, 1, 2].map(|i| Numbering {
        rows: [old, own, new][i],
        names: names[i],
    });
    let found = OwnTokens::find(tensors, numberings, same);
    let read = lists
        .iter()
        .flatten()
        .map(|(_, file)| file.clone())
        .collect();
    Ok(found.map(|found| (found, read)))
}

/// Rows of a model's tables of tokens, where they are all of one shape, and alike but for their rows.
fn rows_as(table: &TensorInfo, tensors: &BTreeSet<String>, of: &Signature) -> Option<usize> {
    let shapes = tensors
        .iter()
        .map(|name| of.get(name).map(|info| &info.shape));
    let shapes: Option<BTreeSet<&Vec<usize>>> = shapes.collect();
    match shapes?.into_iter().collect::<Vec<_>>().as_slice() {
        [shape] if shape.get(1..) == table.shape.get(1..) => shape.first().copied(),
        _ => None,
    }
}

/// A configuration for a table of as many rows, where it says how many there are.
pub fn with_vocabulary(config: &Value, rows: usize) -> Value {
    let mut config = config.clone();
    for place in ["/vocab_size", "/text_config/vocab_size"] {
        if let Some(size) = config.pointer_mut(place) {
            *size = rows.into();
        }
    }
    config
}

/// Takes the tuned model's tokenizer where it numbers the result's tokens. What is said of the tokens that
/// the tuning added.
pub fn put_tokenizer(folder: &mut ModelFolder, tuned: &[OtherFile], tokens: &OwnTokens) -> String {
    let (own, of) = (tokens.shared.own.len(), tokens.shared.of);
    let mut files = names::of_tokenizer(tuned).peekable();
    let tokenizer = if tokens.keeps_numbers && files.peek().is_some() {
        let taken: Vec<OtherFile> = files.cloned().collect();
        folder
            .other_files
            .retain(|file| taken.iter().all(|own| own.key != file.key));
        folder.other_files.extend(taken);
        "the result's tokenizer is the tuned model's"
    } else {
        "the result's tokenizer is the new base's: add them to it in these rows"
    };

    format!(
        "the tuned model has tokens that the old base lacks: {} of the old base's {of} rows are shared, and {own} that \
         the tuning added are its own, moved into the rows that the report names (shared_rows, own); {tokenizer}",
        tokens.shared.shared()
    )
}

/// Whether the tuned model's classes, by their names, are others than those of the bases: than the old
/// base's where a row is named otherwise, than the new base's where no name is shared.
pub fn other_classes(tuned: &Value, old: &Value, new: &Value) -> OtherClasses {
    let Some(own) = names::labels(tuned) else {
        return OtherClasses::default();
    };
    OtherClasses {
        than_old: names::labels(old).is_some_and(|old| !same_numbering(&old, &own)),
        than_new: names::labels(new).is_some_and(|new| none_is_shared(&new, &own)),
    }
}

/// What is said of a base that has a head for the tuned model's, of other classes.
pub fn notes_on_classes(
    head: &AdoptedHead,
    tuned: &Value,
    bases: [Configured<'_>; 2],
) -> Vec<String> {
    let said = [
        (
            head.other.than_old,
            "the old base numbers its classes otherwise than the tuned model",
        ),
        (
            head.other.than_new,
            "the new base shares no class with the tuned model",
        ),
    ];
    let noted = said.into_iter().zip(bases).filter_map(|((applies, what), base)| {
        let has_one = head.of_other_classes.iter().any(|name| base.signature.contains_key(name));
        let [of, own] =
            [names::labels(base.config)?, names::labels(tuned)?].map(|names| listed(&names));
        (applies && has_one).then(|| {
            format!(
                "{what} ({of}, not {own}): the head is the old tuning's, with its classes; give both the \
                 same names in config.json (id2label) where they are the same classes"
            )
        })
    });
    noted.collect()
}

/// What is said where only some classes are shared.
pub fn note_on_rows(rows: &SharedRows) -> Option<String> {
    let (shared, of, len) = (rows.shared(), rows.of, rows.rows.len());
    (rows.axis == Axis::Classes && (shared < of || shared < len)).then(|| {
        format!(
            "{shared} of the tuned model's {of} classes are among the new base's {len}, by their names: \
             the rows of the others are not carried over, and the new base's own stay as they are"
        )
    })
}

/// The first names, by row.
pub fn listed(names: &Names) -> String {
    let mut rows: Vec<(usize, &str)> = names.iter().map(|(name, &row)| (row, &**name)).collect();
    rows.sort_unstable();
    let more = if rows.len() > MAX_LISTED { ", …" } else { "" };
    let shown: Vec<&str> = rows
        .into_iter()
        .take(MAX_LISTED)
        .map(|(_, name)| name)
        .collect();
    format!("{}{more}", shown.join(", "))
}

/// Names shown in a message.
const MAX_LISTED: usize = 5;

/// The old base, with the configuration of its tuning.
#[derive(Clone, Copy)]
pub struct OldModels<'a> {
    pub folder: &'a ModelFolder,
    /// Its labels are the classes of the old models.
    pub tuned_config: &'a Value,
    /// Of the base.
    pub signature: &'a Signature,
}

/// The new base and its network.
#[derive(Clone, Copy)]
pub struct NewBase<'a> {
    pub folder: &'a ModelFolder,
    pub graph: &'a Graph,
    pub signature: &'a Signature,
}

/// Classes that the old models number otherwise than the new base.
pub fn classes(old: OldModels, new: NewBase) -> Option<SharedRows> {
    let [of, than] = [
        names::labels(old.tuned_config)?,
        names::labels(&new.folder.config)?,
    ];
    let tensors = named_tensors(new.graph, new.signature, Axis::Classes);

    SharedRows::find(
        Axis::Classes,
        tensors,
        Numbered {
            names: &of,
            signature: old.signature,
        },
        Numbered {
            names: &than,
            signature: new.signature,
        },
    )
}

/// Tokens that the old models number otherwise than the new base, where they were not told apart already
/// ([`own_tokens`]). The lists that decided it are noted among the `files`.
///
/// # Errors
/// What keeps the store from answering.
pub fn vocabulary(
    storage: Blocking<'_>,
    old: OldModels,
    new: NewBase,
    files: &mut Vec<InputFile>,
) -> Result<Option<SharedRows>, Failure> {
    let tensors = named_tensors(new.graph, new.signature, Axis::Vocabulary);
    let [before, after] = [old.signature, new.signature].map(|of| rows_of_first(&tensors, of));
    if after.is_none() {
        return Ok(None);
    }

    // As many tokens, by the same list: nothing is numbered otherwise, and the list need not be read.
    if before == after
        && names::same_vocabulary(storage, [&old.folder.other_files, &new.folder.other_files])
            .map_err(failure::at("/target/base"))?
    {
        return Ok(None);
    }

    let of =
        names::vocabulary(storage, &old.folder.other_files).map_err(failure::at("/source/base"))?;
    let than =
        names::vocabulary(storage, &new.folder.other_files).map_err(failure::at("/target/base"))?;
    let (Some((of, old_file)), Some((than, new_file))) = (of, than) else {
        return Ok(None);
    };

    let found = SharedRows::find(
        Axis::Vocabulary,
        tensors,
        Numbered {
            names: &of,
            signature: old.signature,
        },
        Numbered {
            names: &than,
            signature: new.signature,
        },
    );
    if found.is_some() {
        files.extend([old_file, new_file]);
    }
    Ok(found)
}

/// Rows of the first of these tensors.
fn rows_of_first(tensors: &BTreeSet<String>, of: &Signature) -> Option<usize> {
    of.get(tensors.first()?)?.shape.first().copied()
}
