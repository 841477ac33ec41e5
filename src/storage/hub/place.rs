//! Where something lies on a hub: its repository, and its path there.

use object_store::{Error, Result};

/// A key in its parts.
pub struct Place<'k> {
    /// `organisation/name`
    pub repository: &'k str,
    pub path: &'k str,
}

impl<'k> Place<'k> {
    /// # Errors
    /// Of a key that names no repository.
    pub fn of(key: &'k str) -> Result<Self> {
        let second = key.match_indices('/').nth(1).map(|(at, _)| at);
        let (repository, path) = second.map_or((key, ""), |at| (&key[..at], &key[at + 1..]));
        if !repository.contains('/') {
            let source = "names no repository; write hf://organisation/name".into();
            return Err(Error::PermissionDenied {
                path: key.to_owned(),
                source,
            });
        }
        Ok(Self { repository, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_repository_and_a_path() {
        let place = Place::of("org/name/a/b.json").unwrap();
        assert_eq!((place.repository, place.path), ("org/name", "a/b.json"));
        assert_eq!(Place::of("org/name").unwrap().path, "");
        assert!(Place::of("org").is_err());
    }
}
