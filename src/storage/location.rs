//! A place in a store, as `scheme://bucket/key`; syntax only, permission is `roots`' to give.

mod error;
mod repository;
mod store;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::contract::spec::MAX_TEXT_BYTES;
use repository::{HubPath, MovingRepository};
use store::read_store;

pub use error::LocationError;
pub use repository::HubRepository;
pub(super) use store::Store;

/// Longest part of a location, in bytes: a limit of file systems.
const MAX_PART_BYTES: usize = 255;

/// An object or a folder of objects. Prints as its URI, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    pub(super) store: Store,
    /// Parts joined by `/`, none of them empty, `.` or `..`; no slash at either end.
    pub(super) key: String,
}

impl Location {
    /// Reads a URI; `file:///abs`, `s3://bucket/key`, `gs://…`, `az://…`.
    pub(crate) fn from_uri(text: &str) -> Result<Self, LocationError> {
        if text.len() > MAX_TEXT_BYTES {
            let start: String = text.chars().take(60).collect();
            let detail = format!("longer than {MAX_TEXT_BYTES} bytes");
            return Err(LocationError::malformed(&start, detail));
        }

        let Some((scheme, rest)) = text.split_once("://") else {
            let detail = "not a URI: write s3://bucket/path, gs://, az://, hf://organisation/name or \
                          file:///absolute/path";
            return Err(LocationError::malformed(text, detail));
        };
        if let Some(found) = rest.chars().find(|c| matches!(c, '%' | '?' | '#' | '\\')) {
            let detail = format!(
                "contains {found:?}; paths are read as they are, without encoding or query"
            );
            return Err(LocationError::malformed(text, detail));
        }

        if scheme == "hf" {
            let HubPath { repository, key } = HubPath::read(text, rest)?;
            return Self::checked(text, Store::Hub(repository), &key);
        }

        let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
        let store = read_store(text, scheme, authority)?;
        Self::checked(text, store, key)
    }

    /// The same, or a path of this machine, relative ones from the working directory.
    pub(super) fn from_uri_or_path(text: &str) -> Result<Self, LocationError> {
        if text.contains("://") {
            Self::from_uri(text)
        } else {
            Self::from_path(Path::new(text))
        }
    }

    /// A path of this machine; `..` is followed as the system does where the path exists.
    pub(super) fn from_path(path: &Path) -> Result<Self, LocationError> {
        let text = path.to_string_lossy();
        let absolute = std::path::absolute(path)
            .map_err(|error| LocationError::malformed(&text, error.to_string()))?;
        let resolved = absolute.canonicalize().unwrap_or(absolute);
        let key = resolved
            .to_str()
            .ok_or_else(|| LocationError::malformed(&text, "is not UTF-8".to_owned()))?;
        Self::checked(&text, Store::File, key.trim_start_matches('/'))
    }

    fn checked(text: &str, store: Store, key: &str) -> Result<Self, LocationError> {
        let key = key.strip_suffix('/').unwrap_or(key);
        if !key.is_empty() {
            key.split('/').try_for_each(|part| check_part(text, part))?;
        }
        Ok(Self {
            store,
            key: key.to_owned(),
        })
    }

    /// An object of this folder.
    ///
    /// # Errors
    /// `location_malformed` unless `name` is one plain file name.
    pub fn child(&self, name: &str) -> Result<Self, LocationError> {
        check_part(name, name)?;
        Ok(self.joined(name))
    }

    /// A place under this folder by a relative path, such as `step-000000/`.
    ///
    /// # Errors
    /// `location_malformed` where the path is absolute, leaves the folder or hides a part.
    pub fn join(&self, relative: &str) -> Result<Self, LocationError> {
        let path = relative.strip_suffix('/').unwrap_or(relative);
        path.split('/')
            .try_for_each(|part| check_part(relative, part))?;
        Ok(self.joined(path))
    }

    /// A file of a result folder.
    #[must_use]
    pub fn at(&self, key: &super::ResultKey) -> Self {
        self.joined(&key.to_string())
    }

    pub(super) fn joined(&self, path: &str) -> Self {
        let key = if self.key.is_empty() {
            path.into()
        } else {
            format!("{}/{path}", self.key)
        };
        Self {
            store: self.store.clone(),
            key,
        }
    }

    /// The folder that this lies in; the root lies in itself.
    pub(super) fn parent(&self) -> Self {
        let key = self.key.rsplit_once('/').map_or("", |(parent, _)| parent);
        Self {
            store: self.store.clone(),
            key: key.into(),
        }
    }

    /// The last part; empty for the root of a store.
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// Whether this is `folder` or lies under it, part by part (`/data2` is not under `/data`).
    pub fn is_under(&self, folder: &Self) -> bool {
        self.store.is_of(&folder.store)
            && match self.key.strip_prefix(&folder.key) {
                Some(rest) => folder.key.is_empty() || rest.is_empty() || rest.starts_with('/'),
                None => false,
            }
    }

    /// Whether it is only read from.
    pub fn is_read_only(&self) -> bool {
        matches!(self.store, Store::Hub(_))
    }

    /// Whether it names a branch or a tag of a hub.
    pub(super) fn names_a_branch(&self) -> bool {
        matches!(&self.store, Store::Hub(one) if one.revision.is_some() && one.moves())
    }

    /// The repository of a hub, where its revision can move.
    pub(super) fn moving_repository(&self) -> Option<MovingRepository<'_>> {
        let Store::Hub(repository) = &self.store else {
            return None;
        };
        let name = &self.key[..self.repository_end()];
        let moves = name.contains('/') && repository.moves();
        moves.then_some(MovingRepository { repository, name })
    }

    /// Where the key's first two parts end.
    fn repository_end(&self) -> usize {
        self.key
            .match_indices('/')
            .nth(1)
            .map_or(self.key.len(), |(at, _)| at)
    }

    /// The same place at one commit.
    pub(super) fn at_commit(&self, commit: String) -> Self {
        match &self.store {
            Store::Hub(HubRepository { is_dataset, .. }) => {
                let repository = HubRepository {
                    is_dataset: *is_dataset,
                    revision: Some(commit),
                };
                Self {
                    store: Store::Hub(repository),
                    key: self.key.clone(),
                }
            }
            _ => self.clone(),
        }
    }

    /// The path of a `file://` location.
    pub(super) fn path(&self) -> Option<PathBuf> {
        (self.store == Store::File).then(|| Path::new("/").join(&self.key))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.store {
            Store::File => write!(f, "file:///{}", self.key),
            Store::S3 { bucket } => write!(f, "s3://{bucket}/{}", self.key),
            Store::Gs { bucket } => write!(f, "gs://{bucket}/{}", self.key),
            Store::Az { container } => write!(f, "az://{container}/{}", self.key),
            Store::Memory => write!(f, "memory:///{}", self.key),
            Store::Hub(HubRepository {
                is_dataset,
                revision,
            }) => {
                let kind = if *is_dataset { "datasets/" } else { "" };
                let Some(revision) = revision else {
                    return write!(f, "hf://{kind}{}", self.key);
                };
                let (name, path) = self.key.split_at(self.repository_end());
                write!(f, "hf://{kind}{name}@{revision}{path}")
            }
        }
    }
}

fn check_part(text: &str, part: &str) -> Result<(), LocationError> {
    let fault = match part {
        "" => "has an empty part (\"//\")",
        "." | ".." => "has a relative part (\".\" or \"..\")",
        _ if part.len() > MAX_PART_BYTES => "has a part longer than 255 bytes",
        _ if part
            .chars()
            .any(|c| c.is_control() || c == '/' || c == '\\') =>
        {
            "contains a slash in a name or a control character"
        }
        _ => return Ok(()),
    };
    Err(LocationError::malformed(
        text,
        format!("{fault}; write the path out in full"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::codes::FailureCode;

    fn code(text: &str) -> FailureCode {
        Location::from_uri(text).expect_err(text).code
    }

    #[test]
    fn uris_are_read_and_printed() {
        for text in [
            "s3://b/a/c",
            "gs://b.c/x",
            "az://con/y",
            "file:///x/y z",
            "s3://b/",
            "file:///",
        ] {
            assert_eq!(Location::from_uri(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Location::from_uri("s3://b/a/").unwrap().to_string(),
            "s3://b/a"
        );
        assert_eq!(Location::from_uri("s3://b").unwrap().key, "");
    }

    #[test]
    fn tricks_are_malformed() {
        for text in [
            "/plain",
            "s3:/b/a",
            "s3:///a",
            "s3://b//a",
            "s3://b/a//",
            "s3://b/../a",
            "file:///a/./b",
            "file:///a/..",
            "file://host/a",
            "file:///a/%2e%2e/b",
            "s3://b/a?versionId=1",
            "s3://b/a#x",
            "s3://user:pass@b/a",
            "s3://b:80/a",
            "s3://../a",
            "file:///a\\..\\b",
            "file:///a\0b",
            "file:///a\nb",
        ] {
            assert_eq!(code(text), FailureCode::LocationMalformed, "{text:?}");
        }
        assert_eq!(
            code(&format!("s3://b/{}", "x".repeat(3000))),
            FailureCode::LocationMalformed
        );
        assert_eq!(
            code(&format!("s3://b/{}", "x".repeat(256))),
            FailureCode::LocationMalformed
        );
    }

    #[test]
    fn a_repository_has_a_kind_a_revision_and_a_path() {
        for text in [
            "hf://org/name",
            "hf://org/name/step-1/model.safetensors",
            "hf://org/name@v1.0/config.json",
            "hf://datasets/org/name@refs/convert/parquet/default/train",
            "hf://datasets/org/name",
            "hf://org",
            "hf://",
        ] {
            assert_eq!(Location::from_uri(text).unwrap().to_string(), text);
        }
        let pinned = "0123456789abcdef0123456789abcdef01234567";
        let moving = Location::from_uri("hf://org/name@v1/a/b").unwrap();
        assert_eq!(moving.moving_repository().unwrap().name, "org/name");
        let fixed = moving.at_commit(pinned.into());
        assert_eq!(fixed.to_string(), format!("hf://org/name@{pinned}/a/b"));
        assert!(fixed.moving_repository().is_none());
        for text in [
            "hf://org/name@",
            "hf://org/name@/x",
            "hf://spaces/org/name",
            "hf://org//name",
            "hf://org/../x",
        ] {
            assert_eq!(code(text), FailureCode::LocationMalformed, "{text:?}");
        }
    }

    fn of(text: &str) -> Location {
        Location::from_uri(text).unwrap()
    }

    #[test]
    fn a_root_without_a_revision_has_all_of_them() {
        assert!(of("hf://org/name@v1/x").is_under(&of("hf://org/name")));
        assert!(of("hf://org/name@v1/x").is_under(&of("hf://org")));
        assert!(of("hf://org/name@v1/x").is_under(&of("hf://")));
        assert!(!of("hf://org/name@v2").is_under(&of("hf://org/name@v1")));
        assert!(!of("hf://org/name").is_under(&of("hf://org/name@v1")));
        assert!(!of("hf://datasets/org/name").is_under(&of("hf://org")));
        assert!(!of("hf://org/names").is_under(&of("hf://org/name")));
    }

    #[test]
    fn unknown_schemes_have_their_own_code() {
        for text in ["http://b/a", "S3://b/a", "ftp://b/a", "://b/a"] {
            assert_eq!(code(text), FailureCode::LocationScheme, "{text:?}");
        }
    }

    #[test]
    fn children_stay_inside() {
        let folder = Location::from_uri("s3://b/run").unwrap();
        assert_eq!(folder.child("x").unwrap().to_string(), "s3://b/run/x");
        assert_eq!(folder.join("a/b/").unwrap().to_string(), "s3://b/run/a/b");
        for name in ["", "..", "a/b", "/etc", "a\\b"] {
            assert!(folder.child(name).is_err(), "{name:?}");
        }
        for path in ["", "/etc", "a/../../b", "a//b", "../x", "."] {
            assert!(folder.join(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn under_is_judged_part_by_part() {
        let root = Location::from_uri("file:///models/llama").unwrap();
        let under = |text: &str| Location::from_uri(text).unwrap().is_under(&root);
        assert!(under("file:///models/llama") && under("file:///models/llama/x"));
        assert!(
            !under("file:///models/llama2") && !under("file:///data") && !under("s3://data/llama")
        );
        assert!(root.is_under(&Location::from_uri("file:///").unwrap()));
    }
}
