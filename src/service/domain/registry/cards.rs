//! Cards of models on a hub, and the repositories that they name as the next ones.
//!
//! A card is a README.md whose head, between two lines of `---`, is YAML. Of that one field is read, as the hub's own
//! pages read it: `new_version: organisation/name`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const FIELD: &str = "new_version:";

/// Longest name of a repository, in bytes.
const NAME_LIMIT: usize = 200;

/// What becomes of a repository that the card of a base model's newest version names as its next one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "successor_policy", rename_all = "snake_case")]
pub enum SuccessorPolicy {
    /// Nothing: the card is not read.
    Ignore,
    /// It is proposed, as an arrival and by an event; somebody registers it.
    #[default]
    Propose,
    /// It becomes a version, as if it had been announced.
    Follow,
}

/// The repository of a model, `organisation/name`, of a location on a hub.
pub fn repository(uri: &str) -> Option<String> {
    let mut parts = uri.strip_prefix("hf://")?.split('/');
    let (organisation, name) = (parts.next()?, parts.next()?);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let repository = format!("{organisation}/{name}");
    // Of data sets there is no next one.
    (organisation != "datasets" && is_repository(&repository)).then_some(repository)
}

/// The repository that a card names as the next one.
pub fn successor(card: &str) -> Option<String> {
    let mut lines = card.trim_start_matches('\u{feff}').lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let mut head = lines.take_while(|line| line.trim_end() != "---");
    let value = head.find_map(|line| line.strip_prefix(FIELD))?;
    let value = value.split(" #").next()?.trim();
    let value = value.trim_matches(['"', '\'']);
    is_repository(value).then(|| value.to_owned())
}

fn is_repository(text: &str) -> bool {
    let mut parts = text.split('/');
    let both = [parts.next(), parts.next()];
    text.len() <= NAME_LIMIT
        && parts.next().is_none()
        && both.into_iter().all(|part| part.is_some_and(is_plain))
}

/// As the hub allows names: no dot or dash at the ends, so no `..` either.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with(['.', '-'])
        && !part.ends_with(['.', '-'])
        && !part.contains("..")
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_names_its_next_one_in_its_head() {
        for card in [
            "---\nlicense: mit\nnew_version: org/llama-2\n---\n# Llama",
            "\u{feff}---\r\nnew_version: \"org/llama-2\"\r\n---\r\n",
            "---\nnew_version: 'org/llama-2'  # better\ntags:\n- new_version: no/no\n---",
        ] {
            assert_eq!(successor(card).as_deref(), Some("org/llama-2"), "{card:?}");
        }
        for card in [
            "",
            "# Llama\nnew_version: org/llama-2",
            "---\nlicense: mit\n---\nnew_version: org/llama-2",
            "---\n  new_version: org/llama-2\n---",
            "---\nnew_version: llama-2\n---",
            "---\nnew_version: org/../etc\n---",
            "---\nnew_version: org/name/more\n---",
            "---\nnew_version: https://hub.example/org/name\n---",
            "---\nnew_version:\n---",
        ] {
            assert_eq!(successor(card), None, "{card:?}");
        }
    }

    #[test]
    fn the_repository_of_a_version_is_without_its_commit_and_folder() {
        for (uri, found) in [
            ("hf://org/llama", Some("org/llama")),
            ("hf://org/llama@0123abc/step-1/", Some("org/llama")),
            ("hf://org/llama@refs/pr/1/", Some("org/llama")),
            ("hf://datasets/org/data", None),
            ("hf://org", None),
            ("s3://org/llama/", None),
        ] {
            assert_eq!(repository(uri).as_deref(), found, "{uri}");
        }
    }
}
