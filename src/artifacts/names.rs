//! What a model's folder calls its classes and its tokens.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::{
    contract::codes::FailureCode,
    engine::transfer::shared_vocabulary::Names,
    storage::{Blocking, sha256_of},
};

use super::{
    InputFile,
    error::{ArtifactError, is_lfs_pointer},
    model::OtherFile,
};

/// Files that list tokens; the first that is there counts.
const VOCABULARIES: [&str; 3] = ["tokenizer.json", "vocab.json", "vocab.txt"];
/// The largest in use have a third of this.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// Class labels of a configuration (`id2label`, timm's `label_names`) with their rows. `None` where
/// there are none, where two are alike, or where they are a library's placeholders (`LABEL_0`), or the
/// rows' own numbers.
pub fn labels(config: &Value) -> Option<Names> {
    let named: Vec<(usize, &str)> = if let Some(map) = config["id2label"].as_object() {
        map.iter()
            .map(|(row, name)| Some((row.parse().ok()?, name.as_str()?)))
            .collect::<Option<_>>()?
    } else {
        let names = config["label_names"].as_array()?;
        names
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .enumerate()
            .collect()
    };

    let are_numbers = named.iter().all(|(row, name)| name.parse() == Ok(*row));
    if are_numbers || named.iter().any(|(_, name)| is_placeholder(name)) {
        return None;
    }

    let count = named.len();
    let rows: Names = named
        .into_iter()
        .map(|(row, name)| (name.to_owned(), row))
        .collect();
    (!rows.is_empty() && rows.len() == count).then_some(rows)
}

fn is_placeholder(name: &str) -> bool {
    name.strip_prefix("LABEL_")
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Files of a tokenizer, under the names that libraries give them.
const TOKENIZER: [&str; 11] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
];

/// The files of a tokenizer among those of a folder.
pub fn of_tokenizer(files: &[OtherFile]) -> impl Iterator<Item = &OtherFile> {
    files
        .iter()
        .filter(|file| TOKENIZER.contains(&file.key.to_string().as_str()))
}

/// Whether a folder lists its tokens.
pub fn lists_tokens(files: &[OtherFile]) -> bool {
    list_of_tokens(files).is_some()
}

/// Tokens by their texts, with the file that lists them. `None` where a folder has no such file, or
/// one of a form that is not known.
///
/// # Errors
/// What keeps the store from answering; `git_lfs_pointer`.
pub fn vocabulary(
    storage: Blocking<'_>,
    files: &[OtherFile],
) -> Result<Option<(Names, InputFile)>, ArtifactError> {
    let Some((file, name)) = list_of_tokens(files) else {
        return Ok(None);
    };
    let bytes = storage.read_small(&file.location, MAX_FILE_BYTES)?;
    if is_lfs_pointer(&bytes) {
        let detail = "is a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`";
        return Err(ArtifactError::fault(
            FailureCode::GitLfsPointer,
            &file.location,
            detail,
        ));
    }

    let Some(tokens) = tokens(name, &bytes) else {
        tracing::warn!(file = %file.location, "lists tokens in a form that is not known");
        return Ok(None);
    };

    let (uri, size) = (file.location.to_string(), bytes.len() as u64);
    Ok(Some((
        tokens,
        InputFile {
            uri,
            size,
            sha256: sha256_of(&bytes),
        },
    )))
}

/// Whether two folders list their tokens in the same bytes; told by sizes and digests, nothing of the
/// files is held.
///
/// # Errors
/// What keeps the store from answering.
pub fn same_vocabulary(
    storage: Blocking<'_>,
    [one, other]: [&[OtherFile]; 2],
) -> Result<bool, ArtifactError> {
    let (Some((one, name)), Some((other, than))) = (list_of_tokens(one), list_of_tokens(other))
    else {
        return Ok(false);
    };
    if name != than {
        return Ok(false);
    }
    if one.location == other.location {
        return Ok(true);
    }

    let sizes = [
        storage.head(&one.location)?.size,
        storage.head(&other.location)?.size,
    ];
    if sizes[0] != sizes[1] || sizes[0] > MAX_FILE_BYTES {
        return Ok(false);
    }

    Ok(storage.digest(&one.location)?.sha256 == storage.digest(&other.location)?.sha256)
}

fn list_of_tokens(files: &[OtherFile]) -> Option<(&OtherFile, &'static str)> {
    VOCABULARIES.iter().find_map(|name| {
        let list = files.iter().find(|file| file.key.to_string() == *name)?;
        Some((list, *name))
    })
}

/// What counts of a `tokenizer.json`; merges, most of such a file, are stepped over.
#[derive(Deserialize)]
struct Tokenizer {
    model: TokenizerModel,
    #[serde(default)]
    added_tokens: Option<Vec<AddedToken>>,
}

#[derive(Deserialize)]
struct TokenizerModel {
    vocab: Vocabulary,
}

#[derive(Deserialize)]
struct AddedToken {
    id: usize,
    content: String,
}

/// Tokens with their rows; a unigram model lists pairs of a token and its score.
struct Vocabulary(Names);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;

        impl<'de> Visitor<'de> for Rows {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their rows, or a list of pairs")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = BTreeMap::new();
                while let Some((token, row)) = map.next_entry()? {
                    names.insert(token, row);
                }
                Ok(names)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = BTreeMap::new();
                let mut row = 0;
                while let Some((token, _)) = list.next_element::<(String, IgnoredAny)>()? {
                    names.insert(token, row);
                    row += 1;
                }
                Ok(names)
            }
        }

        deserializer.deserialize_any(Rows).map(Self)
    }
}

fn tokens(name: &str, bytes: &[u8]) -> Option<Names> {
    let found: Names = match name {
        "vocab.txt" => {
            let text = std::str::from_utf8(bytes).ok()?;
            (0..)
                .zip(text.lines())
                .map(|(row, token)| (token.to_owned(), row))
                .collect()
        }
        "vocab.json" => serde_json::from_slice::<Vocabulary>(bytes).ok()?.0,
        _ => {
            let read: Tokenizer = serde_json::from_slice(bytes).ok()?;
            let mut tokens = read.model.vocab.0;
            let added = read.added_tokens.into_iter().flatten();
            tokens.extend(added.map(|token| (token.content, token.id)));
            tokens
        }
    };
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(of: &[(&str, usize)]) -> Names {
        of.iter()
            .map(|(name, row)| ((*name).to_owned(), *row))
            .collect()
    }

    #[test]
    fn labels_as_hugging_face_and_timm_write_them() {
        assert_eq!(
            labels(&json!({"id2label": {"1": "b", "0": "a"}})),
            Some(rows(&[("a", 0), ("b", 1)]))
        );
        assert_eq!(
            labels(&json!({"label_names": ["a", "b"]})),
            Some(rows(&[("a", 0), ("b", 1)]))
        );
        for none in [
            json!({}),
            json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}),
            json!({"id2label": {"0": "a", "1": "a"}}),
            json!({"id2label": {"0": "0", "1": "1"}}),
            json!({"id2label": {"x": "a"}}),
        ] {
            assert_eq!(labels(&none), None, "{none}");
        }
    }

    #[test]
    fn tokens_of_the_usual_files() {
        let two = Some(rows(&[("a", 0), ("b", 1)]));
        assert_eq!(tokens("vocab.txt", b"a\nb\n"), two);
        assert_eq!(tokens("vocab.json", br#"{"b": 1, "a": 0}"#), two);
        let pieces = br#"{"model": {"vocab": [["a", -1.5], ["b", -2]]}}"#;
        assert_eq!(tokens("tokenizer.json", pieces), two);
        let added =
            br#"{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "b"}]}"#;
        assert_eq!(tokens("tokenizer.json", added), two);
        for broken in [
            &b"{"[..],
            b"{}",
            br#"{"model": {"vocab": {"a": -1}}}"#,
            b"\xff",
        ] {
            assert_eq!(tokens("tokenizer.json", broken), None);
        }
    }
}
