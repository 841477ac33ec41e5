//! Looks at the files of a base version in storage: whether they are a model, and their digest.
//!
//! Nothing is parsed here; what the model means is for the pipeline to say. The digest is SHA-256
//! over one line a file, in order of name: `<SHA-256 of the content>  <size>  <name>`.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    contract::manifest::files::CONFIG,
    storage::{Location, ObjectInfo, Storage, StorageError, WeightFiles},
};

/// Longest index that is read, in bytes.
const INDEX_LIMIT: u64 = 16 << 20;

/// A model, as its bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// In hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// The folder at the commit that was read, where it was named by a branch or a tag, which moves.
    pub pinned: Option<String>,
}

/// Why a location cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum ModelFilesError {
    #[error("{0}: holds no model: {1}")]
    NoModel(String, &'static str),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads every model file through, which takes as long as it takes.
///
/// # Errors
/// [`ModelFilesError::NoModel`] without `config.json` or weights; storage that does not answer.
pub async fn look(storage: &Storage, folder: &Location) -> Result<ModelFiles, ModelFilesError> {
    let at = storage.pin(folder).await?;
    let pinned = (at != *folder).then(|| at.to_string());
    let listing = storage.list(&at).await?;
    let mut files: Vec<&ObjectInfo> = listing
        .files
        .iter()
        .filter(|file| is_model_file(file.location.name()))
        .collect();
    files.sort_by(|a, b| a.location.name().cmp(b.location.name()));
    check(&files).map_err(|fault| ModelFilesError::NoModel(folder.to_string(), fault))?;
    if let Some(index) = files.iter().find(|file| is_index(file.location.name())) {
        let read = storage.read_small(&index.location, INDEX_LIMIT).await?;
        if !has_every_shard(&read, &files) {
            let fault = "the index cannot be read, or a shard that it names is missing";
            return Err(ModelFilesError::NoModel(folder.to_string(), fault));
        }
    }

    let Digested { digest, size } = digest(storage, &at, &files).await?;
    Ok(ModelFiles {
        digest,
        size,
        pinned,
    })
}

/// All files of a model.
struct Digested {
    digest: String,
    size: u64,
}

/// Reads files of a folder through. Where one was changed while another was read, they are those of no model.
async fn digest(
    storage: &Storage,
    folder: &Location,
    files: &[&ObjectInfo],
) -> Result<Digested, StorageError> {
    let (mut digest, mut size) = (Sha256::new(), 0);
    for file in files {
        let read = storage.digest(&file.location).await?;
        digest.update(format!(
            "{}  {}  {}\n",
            read.sha256,
            read.size,
            file.location.name()
        ));
        size += read.size;
    }

    let now = storage.list(folder).await?.files;
    match files.iter().find(|file| !now.contains(file)) {
        Some(changed) => Err(StorageError::Changed {
            location: changed.location.to_string(),
        }),
        None => Ok(Digested {
            digest: hex::encode(digest.finalize()),
            size,
        }),
    }
}

/// Whether every shard of an index is there.
fn has_every_shard(index: &[u8], files: &[&ObjectInfo]) -> bool {
    let index: Result<Value, _> = serde_json::from_slice(index);
    index.is_ok_and(|index| {
        let shards = index["weight_map"].as_object().map(|map| map.values());
        shards.is_some_and(|mut shards| {
            shards.all(|shard| shard.as_str().is_some_and(|name| has(files, name)))
        })
    })
}

fn has(files: &[&ObjectInfo], name: &str) -> bool {
    files.iter().any(|file| file.location.name() == name)
}

fn is_index(name: &str) -> bool {
    WeightFiles::ALL
        .into_iter()
        .any(|files| files.index() == name)
}

fn is_model_file(name: &str) -> bool {
    name == CONFIG || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")
}

fn check(files: &[&ObjectInfo]) -> Result<(), &'static str> {
    let shards = files
        .iter()
        .any(|file| file.location.name().ends_with(".safetensors"));
    if !has(files, CONFIG) {
        return Err("config.json is missing");
    }
    let mut forms = WeightFiles::ALL.into_iter();
    if !forms.any(|of| has(files, of.single()) || has(files, of.index()) && shards) {
        return Err("model.safetensors, or an index and its shards, are missing");
    }

    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{contract::codes::FailureCode, storage::S3Config};

    async fn look_at(files: &[(&str, &str)]) -> Result<ModelFiles, ModelFilesError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let storage = Storage::local(S3Config::default(), tokio::runtime::Handle::current());
        let place = storage
            .check_location(folder.path().to_str().unwrap())
            .unwrap();
        look(&storage, &place).await
    }

    #[tokio::test]
    async fn the_digest_is_that_of_the_model_files_and_of_nothing_else() {
        let model = [("config.json", "{}"), ("model.safetensors", "abc")];
        let found = look_at(&model).await.unwrap();
        let line = |content: &str, name: &str| {
            let sha256 = hex::encode(Sha256::digest(content));
            format!("{sha256}  {}  {name}\n", content.len())
        };
        let lines = line("{}", "config.json") + &line("abc", "model.safetensors");
        let expected = hex::encode(Sha256::digest(lines));
        assert_eq!(
            found,
            ModelFiles {
                digest: expected,
                size: 5,
                pinned: None
            }
        );

        let documented = look_at(&[model[0], model[1], ("README.md", "x")])
            .await
            .unwrap();
        assert_eq!(documented, found);
        let changed = look_at(&[model[0], ("model.safetensors", "abd")])
            .await
            .unwrap();
        assert_ne!(changed.digest, found.digest);
        // What moves from one file to another is another model too.
        let renamed = look_at(&[
            ("config.json", "{}"),
            ("model.safetensors", "ab"),
            ("x.safetensors", "c"),
        ]);
        assert_ne!(renamed.await.unwrap().digest, found.digest);
    }

    #[tokio::test]
    async fn files_that_change_after_they_were_listed_are_no_model() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        fs::write(&weights, "old").unwrap();
        let storage = Storage::local(S3Config::default(), tokio::runtime::Handle::current());
        let place = storage
            .check_location(folder.path().to_str().unwrap())
            .unwrap();
        let listed = storage.list(&place).await.unwrap().files;
        let files: Vec<&ObjectInfo> = listed.iter().collect();
        assert_eq!(digest(&storage, &place, &files).await.unwrap().size, 3);

        fs::remove_file(&weights).unwrap();
        fs::write(&weights, "new").unwrap();
        let refused = digest(&storage, &place, &files).await.err().unwrap();
        assert_eq!(refused.code(), FailureCode::InputChanged);
        assert!(
            refused.to_string().contains("model.safetensors"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn half_a_model_is_none() {
        for files in [
            &[][..],
            &[("config.json", "{}")],
            &[("model.safetensors", "abc")],
            &[
                ("config.json", "{}"),
                ("model.safetensors.index.json", "{}"),
            ],
            &[("config.json", "{}"), ("adapter_model.safetensors", "abc")],
        ] {
            let refused = look_at(files).await;
            assert!(
                matches!(refused, Err(ModelFilesError::NoModel(..))),
                "{files:?}"
            );
        }
    }
}
