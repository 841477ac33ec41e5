//! What was announced as a new version of a base model, and what became of it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::is_name;
use crate::contract::ids::ArrivalId;

/// Longest location that is taken up, in bytes; object stores end at some 1100.
const URI_LIMIT: usize = 1200;
/// Longest name that is shown again, in bytes.
const VERSION_LIMIT: usize = 1024;

/// How far an announcement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "arrival_status", rename_all = "snake_case")]
pub enum ArrivalStatus {
    /// To be looked at, for the first time or again.
    Waiting,
    /// It became a version.
    Registered,
    /// It was a version already.
    Known,
    /// Its name cannot be a version's, or it is no folder that can be looked at; the reason says what to do.
    Ignored,
    /// A model's card names it as the next one; somebody registers it, or nobody.
    Proposed,
    /// Given up: no whole model in time, or another model's version. A further announcement begins anew.
    Failed,
}

/// A folder that was said to hold a new version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Arrival {
    /// The cursor of lists.
    #[schema(value_type = Uuid)]
    pub id: ArrivalId,
    pub base_model: String,
    pub uri: String,
    pub version: String,
    pub status: ArrivalStatus,
    /// Why it still waits after a look, is proposed, was ignored or failed.
    pub reason: Option<String>,
    /// How often it was announced.
    pub announcements: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// The last time.
    #[serde(with = "time::serde::rfc3339")]
    pub announced_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_look_at: Option<OffsetDateTime>,
    /// Null when it is over.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_look_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// What is there already when something is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// By someone who has seen something happen: what waits is looked at at once, what failed again.
    Again,
    /// By its being there: only what was never announced counts.
    Found,
}

/// A folder that is said to hold a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announcement {
    pub uri: String,
    pub version: String,
    /// Why it is only written down.
    note: Option<String>,
}

impl Announcement {
    /// Of a folder under a name, which need not be fit for a version; `None` where either is too long
    /// to be kept.
    pub fn of(folder: &str, version: String) -> Option<Self> {
        let uri = format!("{}/", folder.trim_end_matches('/'));
        let fits = uri.len() <= URI_LIMIT && version.len() <= VERSION_LIMIT;
        fits.then_some(Self {
            uri,
            version,
            note: None,
        })
    }

    /// Of something that is no folder of ours, written down for the administrator with what to do about it.
    pub fn noted(uri: String, version: String, note: String) -> Option<Self> {
        let fits = uri.len() <= URI_LIMIT && version.len() <= VERSION_LIMIT;
        fits.then_some(Self {
            uri,
            version,
            note: Some(note),
        })
    }

    /// Why it is no version whatever the folder holds.
    pub fn fault(&self) -> Option<&str> {
        let unnamed = (!is_name(&self.version)).then_some("its name cannot be a version's");
        self.note.as_deref().or(unnamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_announced_with_one_slash_at_its_end_under_any_name_that_can_be_kept() {
        for folder in ["s3://models/llama/2", "s3://models/llama/2/"] {
            let announced = Announcement::of(folder, "2".into()).unwrap();
            assert_eq!(
                (announced.uri.as_str(), announced.fault()),
                ("s3://models/llama/2/", None)
            );
        }
        assert!(
            Announcement::of("s3://models/a b/", "a b".into())
                .unwrap()
                .fault()
                .is_some()
        );
        assert_eq!(
            Announcement::of("s3://models/2/", "2".repeat(VERSION_LIMIT + 1)),
            None
        );
        assert_eq!(Announcement::of(&"x".repeat(URI_LIMIT), "2".into()), None);
    }
}
