//! Repositories of a hub, in a URI: `hf://[datasets/]organisation/name[@revision]/path`.

use super::error::LocationError;

/// Of a commit's name.
const COMMIT_DIGITS: usize = 40;

/// Of which kind repositories of a hub are, and at which revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubRepository {
    pub is_dataset: bool,
    /// Branch, tag or commit; none: `main`.
    pub revision: Option<String>,
}

impl HubRepository {
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// Whether the revision can move to another commit.
    pub fn moves(&self) -> bool {
        let revision = self.revision();
        revision.len() != COMMIT_DIGITS || !revision.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// A repository whose revision is a branch or a tag.
pub struct MovingRepository<'l> {
    pub repository: &'l HubRepository,
    /// `organisation/name`
    pub name: &'l str,
}

/// What stands behind `hf://`.
pub struct HubPath {
    pub repository: HubRepository,
    /// `organisation/name/path`, not checked.
    pub key: String,
}

impl HubPath {
    /// A revision with slashes is one of the hub's own, as `refs/convert/parquet`.
    ///
    /// # Errors
    /// `location_malformed`.
    pub fn read(text: &str, rest: &str) -> Result<Self, LocationError> {
        let dataset = rest.strip_prefix("datasets");
        let dataset = dataset.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let key = dataset.map_or(rest, |rest| rest.strip_prefix('/').unwrap_or(rest));
        if key.starts_with("spaces/") || key.starts_with("models/") {
            let detail = "write hf://organisation/name, or hf://datasets/organisation/name";
            return Err(LocationError::malformed(text, detail));
        }

        let mut parts = key.split('/');
        let organisation = parts.next();
        let named = parts.next();
        let name = named.map(|part| part.split_once('@').map_or(part, |(name, _)| name));
        let mut revision = named
            .and_then(|part| part.split_once('@'))
            .map(|(_, at)| at.to_owned());
        if revision.as_deref() == Some("refs") {
            let refs: Vec<&str> = parts.by_ref().take(2).collect();
            revision = Some(format!("refs/{}", refs.join("/")));
        }

        if revision
            .as_ref()
            .is_some_and(|revision| revision.is_empty() || revision.ends_with('/'))
        {
            let detail = "has no revision behind the @; write hf://organisation/name@main";
            return Err(LocationError::malformed(text, detail));
        }

        let key: Vec<&str> = organisation.into_iter().chain(name).chain(parts).collect();
        let repository = HubRepository {
            is_dataset: dataset.is_some(),
            revision,
        };

        Ok(Self {
            repository,
            key: key.join("/"),
        })
    }
}
