//! What is signed: an in-toto statement with the digest of each file.
//!
//! The predicate is model-signing's, version 1.0. Its subject is the model by name, and one digest over all digests.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::contract::manifest::{Manifest, OutputFile, files};

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";
const SHA256: &str = "sha256";
const FILES: &str = "files";

/// What is signed by none: the signature itself, the manifest that lists it, and what a hub adds to a repository.
const IGNORED: [&str; 6] = [
    files::SIGNATURE,
    files::MANIFEST,
    ".git",
    ".gitattributes",
    ".github",
    ".gitignore",
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
    /// The manifest without the signature among its outputs. Only `retune` writes and reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retune_manifest: Option<Value>,
}

/// How a folder becomes a list of digests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

impl Statement {
    /// Of a result, by the manifest that it is to have.
    pub fn of(manifest: &Manifest) -> serde_json::Result<Self> {
        let resources: Vec<Resource> = manifest.outputs.iter().map(Resource::of).collect();
        let sha256 = root_digest(&resources).unwrap_or_default();
        let subject = Subject {
            name: manifest.id.to_string(),
            digest: SubjectDigest { sha256 },
        };
        let serialization = Serialization {
            method: FILES.into(),
            hash_type: SHA256.into(),
            allow_symlinks: false,
            ignore_paths: IGNORED.map(str::to_owned).into(),
        };

        let retune_manifest = Some(serde_json::to_value(manifest)?);
        Ok(Self {
            kind: STATEMENT.into(),
            subject: vec![subject],
            predicate_type: PREDICATE.into(),
            predicate: Predicate {
                serialization,
                resources,
                retune_manifest,
            },
        })
    }

    /// Reads a statement whose signature is good. The error says what this program cannot check.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let statement: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("its statement: {error}"))?;
        let predicate = &statement.predicate;
        let Serialization {
            method, hash_type, ..
        } = &predicate.serialization;

        if statement.kind != STATEMENT || statement.predicate_type != PREDICATE {
            return Err(format!(
                "it states {}, not {PREDICATE}",
                statement.predicate_type
            ));
        }
        if method != FILES || hash_type != SHA256 {
            return Err(format!(
                "it lists {method} by {hash_type}; only files by sha256 are checked"
            ));
        }

        if predicate
            .resources
            .iter()
            .any(|file| file.algorithm != SHA256)
        {
            return Err("it has a digest that is no sha256".into());
        }

        match &statement.subject[..] {
            [only] if Some(&only.digest.sha256) == root_digest(&predicate.resources).as_ref() => {
                Ok(statement)
            }
            [_] => Err("its digests do not sum up to that of its subject".into()),
            subjects => Err(format!("it has {} subjects, not one", subjects.len())),
        }
    }

    /// Of the model.
    pub fn name(&self) -> &str {
        self.subject.first().map_or("", |subject| &subject.name)
    }

    /// The signed files: name and SHA-256.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.predicate
            .resources
            .iter()
            .map(|file| (file.name.as_str(), file.digest.as_str()))
    }

    /// Whether a file of the folder need not be signed.
    pub fn ignores(&self, name: &str) -> bool {
        self.predicate
            .serialization
            .ignore_paths
            .iter()
            .any(|path| {
                let rest = name.strip_prefix(path.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// The manifest without the signature among its outputs, if `retune` has signed.
    pub fn manifest(&self) -> Option<&Value> {
        self.predicate.retune_manifest.as_ref()
    }
}

impl Resource {
    fn of(file: &OutputFile) -> Self {
        Self {
            name: file.name.clone(),
            algorithm: SHA256.into(),
            digest: file.sha256.clone(),
        }
    }
}

/// The SHA-256 of all digests, one after the other; `None` where one is no hexadecimal.
fn root_digest(resources: &[Resource]) -> Option<String> {
    let mut hasher = Sha256::new();
    for resource in resources {
        hasher.update(hex::decode(&resource.digest).ok()?);
    }
    Some(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(digest: &str) -> Resource {
        Resource {
            name: "f".into(),
            algorithm: SHA256.into(),
            digest: digest.into(),
        }
    }

    #[test]
    fn the_root_digest_is_over_the_bytes_of_the_digests() {
        // printf '\x01\x02' | sha256sum
        let expected = "a12871fee210fb8619291eaea194581cbd2531e4b23759d225f6806923f63222";
        assert_eq!(
            root_digest(&[resource("01"), resource("02")]).as_deref(),
            Some(expected)
        );
        assert_eq!(root_digest(&[resource("0g")]), None);
    }

    #[test]
    fn ignored_paths_are_whole_names_and_folders() {
        let serialization = Serialization {
            method: FILES.into(),
            hash_type: SHA256.into(),
            allow_symlinks: false,
            ignore_paths: vec!["model.sig".into(), ".git/".into()],
        };
        let predicate = Predicate {
            serialization,
            resources: vec![],
            retune_manifest: None,
        };
        let statement = Statement {
            kind: STATEMENT.into(),
            subject: vec![],
            predicate_type: PREDICATE.into(),
            predicate,
        };
        let ignored = ["model.sig", ".git", ".git/HEAD"];
        assert!(ignored.iter().all(|name| statement.ignores(name)));
        let signed = [
            "model.sig2",
            ".gitattributes",
            "model.safetensors",
            "a/model.sig",
        ];
        assert!(!signed.iter().any(|name| statement.ignores(name)));
    }
}
