//! Classes and tokens that the three models name: which rows are one, and which are a model's own.

use std::collections::BTreeSet;

use serde_json::Value;

use super::TRAJECTORY;
use crate::{
    artifacts::{InputFile, ModelFolder, model::OtherFile, names},
    engine::{
        network::Graph,
        tensors::Signature,
        transfer::{
            compatibility::{AdoptedHead, OtherClasses},
            shared_vocabulary::{
                Axis, Names, SharedRows, named_tensors, none_is_shared, same_numbering,
                tokens::{Numbering, OwnTokens},
            },
        },
    },
    pipeline::failure::{self, Failure},
    storage::Blocking,
};

/// The tokens that the tuning added, in rows of its own or in the padding of a table, with the lists that were
/// read. Models are given in the order old base, tuned, new base: what lies beside them, and their headers.
///
/// # Errors
/// What keeps the store from answering.
pub fn own_tokens(
    storage: Blocking<'_>,
    tuned: &Value,
    models: [(&[OtherFile], &Signature); 3],
) -> Result<Option<(OwnTokens, Vec<InputFile>)>, Failure> {
    let Ok(graph) = Graph::from_config(tuned, models[1].1) else { return Ok(None) };
    let tensors = named_tensors(&graph, models[1].1, Axis::Vocabulary);
    let shape = |of: &Signature, name: &String| of.get(name).map(|info| info.shape.clone());
    let Some(table) = tensors.iter().find_map(|name| shape(models[1].1, name)) else {
        return Ok(None);
    };
    let rows = |(_, of): (&[OtherFile], &Signature)| {
        let shapes = tensors.iter().map(|name| shape(of, name));
        let shapes: Option<BTreeSet<Vec<usize>>> = shapes.collect();
        match shapes?.into_iter().collect::<Vec<_>>().as_slice() {
            [shape] if shape[1..] == table[1..] => shape.first().copied(),
            _ => None,
        }
    };
    let [Some(old), Some(own), Some(new)] = models.map(rows) else { return Ok(None) };
    // Without a list of its own it names no token that the old base lacks.
    if old == own && !names::lists_tokens(models[1].0) {
        return Ok(None);
    }
    let pointers = ["/source/base", TRAJECTORY, "/target/base"];
    let mut lists = Vec::new();
    for ((files, _), pointer) in models.into_iter().zip(pointers) {
        lists.push(names::vocabulary(storage, files).map_err(failure::at(pointer))?);
    }
    let name = |i: usize| lists[i].as_ref().map(|(names, _)| names);
    let same = name(0) == name(2) && (name(0).is_some() || old == new);
    let numberings = [old, own, new].into_iter().enumerate();
    let numberings: Vec<Numbering> =
        numberings.map(|(i, rows)| Numbering { rows, names: name(i) }).collect();
    let found = <[Numbering; 3]>::try_from(numberings)
        .ok()
        .and_then(|numberings| OwnTokens::find(tensors, numberings, same));
    let read = lists.iter().flatten().map(|(_, file)| file.clone()).collect();
    Ok(found.map(|found| (found, read)))
}

/// A configuration for a table of as many rows, where it says how many there are.
pub fn with_vocabulary(config: &Value, rows: usize) -> Value {
    let mut config = config.clone();
    if let Some(size) = config.get_mut("vocab_size") {
        *size = rows.into();
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
        let is_taken = |file: &OtherFile| taken.iter().any(|own| own.key == file.key);
        folder.other_files.retain(|file| !is_taken(file));
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
pub fn other_classes(tuned: &Value, [old, new]: [&Value; 2]) -> OtherClasses {
    let Some(own) = names::labels(tuned) else { return OtherClasses::default() };
    OtherClasses {
        than_old: names::labels(old).is_some_and(|old| !same_numbering(&old, &own)),
        than_new: names::labels(new).is_some_and(|new| none_is_shared(&new, &own)),
    }
}

/// What is said of a base that has a head for the tuned model's, of other classes.
pub fn notes_on_classes<'a>(
    head: &AdoptedHead,
    tuned: &Value,
    bases: impl Iterator<Item = (&'a Value, &'a Signature)>,
) -> Vec<String> {
    let said = [
        (head.other.than_old, "the old base numbers its classes otherwise than the tuned model"),
        (head.other.than_new, "the new base shares no class with the tuned model"),
    ];
    let note = |((applies, what), (config, signature)): ((bool, &str), (&Value, &Signature))| {
        let has_one = head.of_other_classes.iter().any(|name| signature.contains_key(name));
        let [of, own] = [names::labels(config)?, names::labels(tuned)?].map(|names| listed(&names));
        (applies && has_one).then(|| {
            format!(
                "{what} ({of}, not {own}): the head is the old tuning's, with its classes; give both the \
                 same names in config.json (id2label) where they are the same classes"
            )
        })
    };
    said.into_iter().zip(bases).filter_map(note).collect()
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
    let more = if rows.len() > LISTED { ", …" } else { "" };
    let shown: Vec<&str> = rows.into_iter().take(LISTED).map(|(_, name)| name).collect();
    format!("{}{more}", shown.join(", "))
}

/// Names shown in a message.
const LISTED: usize = 5;

/// Classes and tokens that the old models number otherwise than the new base, which is given with its
/// graph. The old class labels are those of the tuned configuration. Tokens may have been told apart already
/// ([`own_tokens`]).
///
/// # Errors
/// What keeps the store from answering.
pub fn shared_rows(
    storage: Blocking<'_>,
    (old, tuned, base): (&ModelFolder, &Value, &Signature),
    (new, graph, target): (&ModelFolder, &Graph, &Signature),
    (tokens_are_told, files): (bool, &mut Vec<InputFile>),
) -> Result<Vec<SharedRows>, Failure> {
    let mut found = Vec::new();
    if let (Some(old), Some(new)) = (names::labels(tuned), names::labels(&new.config)) {
        let tensors = named_tensors(graph, target, Axis::Classes);
        found.extend(SharedRows::find(Axis::Classes, tensors, (&old, base), (&new, target)));
    }
    if tokens_are_told {
        return Ok(found);
    }
    let tensors = named_tensors(graph, target, Axis::Vocabulary);
    let rows = |of: &Signature| Some(*of.get(tensors.first()?)?.shape.first()?);
    if rows(target).is_none() {
        return Ok(found);
    }
    // As many tokens, by the same list: nothing is numbered otherwise, and the list need not be read.
    if rows(base) == rows(target)
        && names::same_vocabulary(storage, [&old.other_files, &new.other_files])
            .map_err(failure::at("/target/base"))?
    {
        return Ok(found);
    }
    let read = |folder: &ModelFolder, pointer| {
        names::vocabulary(storage, &folder.other_files).map_err(failure::at(pointer))
    };
    let (old, new) = (read(old, "/source/base")?, read(new, "/target/base")?);
    if let (Some((old, old_file)), Some((new, new_file))) = (old, new)
        && let Some(rows) =
            SharedRows::find(Axis::Vocabulary, tensors, (&old, base), (&new, target))
    {
        files.extend([old_file, new_file]);
        found.push(rows);
    }
    Ok(found)
}
