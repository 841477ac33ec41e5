//! What a model's folder calls its classes and its tokens.

use serde_json::Value;

use crate::{
    engine::transfer::rows::Names,
    storage::{Blocking, sha256_of},
};

use super::{InputFile, ModelFolder, error::ArtifactError};

/// Files that list tokens; the first that is there counts.
const VOCABULARIES: [&str; 3] = ["tokenizer.json", "vocab.json", "vocab.txt"];
const LIMIT: u64 = 128 << 20;

/// Class labels of a configuration (`id2label`, timm's `label_names`) with their rows. `None` where
/// there are none, where two are alike, or where they are a library's placeholders (`LABEL_0`).
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
    let placeholder = |name: &str| {
        name.strip_prefix("LABEL_").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    };
    if named.iter().any(|(_, name)| placeholder(name)) {
        return None;
    }
    let count = named.len();
    let rows: Names = named.into_iter().map(|(row, name)| (name.to_owned(), row)).collect();
    (!rows.is_empty() && rows.len() == count).then_some(rows)
}

/// Tokens by their texts, with the file that lists them. `None` where a folder has no such file, or
/// one of a form that is not known.
///
/// # Errors
/// What keeps the store from answering.
pub fn vocabulary(
    storage: Blocking<'_>,
    folder: &ModelFolder,
) -> Result<Option<(Names, InputFile)>, ArtifactError> {
    let named = |name: &str| folder.other_files.iter().find(|f| f.key.to_string() == name);
    let Some((file, name)) = VOCABULARIES.iter().find_map(|name| Some((named(name)?, *name)))
    else {
        return Ok(None);
    };
    let bytes = storage.read_small(&file.location, LIMIT)?;
    let Some(tokens) = tokens(name, &bytes) else {
        tracing::warn!(file = %file.location, "lists tokens in a form that is not known");
        return Ok(None);
    };
    let (uri, size) = (file.location.to_string(), bytes.len() as u64);
    Ok(Some((tokens, InputFile { uri, size, sha256: sha256_of(&bytes) })))
}

fn tokens(name: &str, bytes: &[u8]) -> Option<Names> {
    let row = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let map = |value: &Value| {
        let all = value.as_object()?.iter();
        all.map(|(token, id)| Some((token.clone(), row(id)?))).collect::<Option<Names>>()
    };
    let found: Names = match name {
        "vocab.txt" => {
            let text = std::str::from_utf8(bytes).ok()?;
            (0..).zip(text.lines()).map(|(row, token)| (token.to_owned(), row)).collect()
        }
        "vocab.json" => map(&serde_json::from_slice(bytes).ok()?)?,
        _ => {
            let value: Value = serde_json::from_slice(bytes).ok()?;
            let vocabulary = &value["model"]["vocab"];
            // A unigram model lists pairs of a token and its score.
            let mut tokens = match vocabulary.as_array() {
                Some(pairs) => (0..)
                    .zip(pairs)
                    .map(|(row, pair)| Some((pair[0].as_str()?.to_owned(), row)))
                    .collect::<Option<Names>>()?,
                None => map(vocabulary)?,
            };
            for added in value["added_tokens"].as_array().into_iter().flatten() {
                tokens.insert(added["content"].as_str()?.to_owned(), row(&added["id"])?);
            }
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
        of.iter().map(|(name, row)| ((*name).to_owned(), *row)).collect()
    }

    #[test]
    fn labels_as_hugging_face_and_timm_write_them() {
        assert_eq!(
            labels(&json!({"id2label": {"1": "b", "0": "a"}})),
            Some(rows(&[("a", 0), ("b", 1)]))
        );
        assert_eq!(labels(&json!({"label_names": ["a", "b"]})), Some(rows(&[("a", 0), ("b", 1)])));
        for none in [
            json!({}),
            json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}),
            json!({"id2label": {"0": "a", "1": "a"}}),
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
        for broken in [&b"{"[..], b"{}", br#"{"model": {"vocab": {"a": -1}}}"#, b"\xff"] {
            assert_eq!(tokens("tokenizer.json", broken), None);
        }
    }
}
