//! Files of this machine become a commit of a repository: all of them, or none.
//!
//! Order of events: the hub says of each file whether git keeps it or the store of large files does; the large ones
//! are sent; the commit names them and has the small ones in it. It names its parent too, so that a branch that has
//! moved meanwhile refuses it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use object_store::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    place::Place,
    post::Post,
    request::{Hub, failed},
};
use crate::storage::{Location, Sha256Hex, Storage, StorageError, location::Store, sha256_of};

/// Files that are asked about at once.
const BATCH: usize = 256;
/// Of a file's beginning, by which the hub tells text from other content.
const SAMPLE: u64 = 512;
/// Bytes of small files that one commit takes: they are held in memory.
const MAX_SMALL: u64 = 64 << 20;

/// A file of this machine that is to be in a folder of a repository.
#[derive(Clone, Debug)]
pub struct HubFile<'a> {
    /// Below the folder.
    pub name: &'a str,
    pub path: &'a Path,
    pub size: u64,
    pub sha256: Sha256Hex,
}

/// A commit to be made.
#[derive(Clone, Copy, Debug)]
pub struct HubCommit<'a> {
    /// The folder, on a branch.
    pub folder: &'a Location,
    /// The same at the commit that the branch is believed to be.
    pub parent: &'a Location,
    pub message: &'a str,
    pub files: &'a [HubFile<'a>],
}

/// What the hub says of files to be committed.
#[derive(Deserialize)]
struct Modes {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    #[serde(rename = "uploadMode")]
    way: String,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    commit_oid: String,
}

impl Storage {
    /// Makes the commit; the folder at that commit.
    ///
    /// # Errors
    /// `storage_denied`; `input_changed` where the branch has moved; a folder that is on no branch; a file that the
    /// repository ignores, or that cannot be read.
    pub async fn commit_to_hub(&self, commit: &HubCommit<'_>) -> Result<Location, StorageError> {
        self.admit(commit.folder)?;
        let at = StorageError::store_at(commit.folder);
        let Some(branch) = commit.folder.moving_repository() else {
            let detail = "files are committed to a branch: write hf://organisation/name";
            return Err(StorageError::unavailable(commit.folder, &detail));
        };
        let hub = self.inner.clients.hub(branch.repository).map_err(&at)?;
        let made = hub.commit_files(commit).await.map_err(at)?;
        Ok(commit.folder.at_commit(made))
    }
}

impl Hub {
    async fn commit_files(&self, commit: &HubCommit<'_>) -> Result<String> {
        let place = Place::of(&commit.folder.key)?;
        let mut lines = vec![header(commit)];
        let mut small = 0;
        for files in commit.files.chunks(BATCH) {
            let modes = self.modes(&place, files).await?;
            let large: Vec<&HubFile<'_>> = files
                .iter()
                .filter(|file| modes.is_large(&path(&place, file), file.size))
                .collect();
            if !large.is_empty() {
                self.send_large(place.repository, &large).await?;
            }

            for file in files {
                let path = path(&place, file);
                if modes.is_large(&path, file.size) {
                    lines.push(large_line(&path, file));
                    continue;
                }
                small += file.size;
                if small > MAX_SMALL {
                    let detail =
                        format!("more than {MAX_SMALL} bytes of files that git keeps itself");
                    return Err(failed(detail));
                }
                lines.push(small_line(&path, file)?);
            }
        }

        let mut body = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut body, line).map_err(failed)?;
            body.push(b'\n');
        }
        let url = self.api(place.repository, "commit", "");
        let made: Made = self.server.post(&Post::lines(url, body)).await?;
        Ok(made.commit_oid)
    }

    /// Which of the files are large ones to the hub.
    async fn modes(&self, place: &Place<'_>, files: &[HubFile<'_>]) -> Result<Modes> {
        let mut asked = Vec::with_capacity(files.len());
        for file in files {
            let sample = sample(file.path).map_err(failed)?;
            asked.push(json!({
                "path": path(place, file), "size": file.size,
                "sample": BASE64_STANDARD.encode(sample),
            }));
        }

        let url = self.api(place.repository, "preupload", "");
        let post = Post::json(url, &json!({"files": asked}))?;
        let modes: Modes = self.server.post(&post).await?;
        for file in files {
            modes.check(&path(place, file))?;
        }
        Ok(modes)
    }
}

impl Modes {
    fn of(&self, path: &str) -> Option<&Mode> {
        self.files.iter().find(|mode| mode.path == path)
    }

    /// An empty file is never one: no store takes it.
    fn is_large(&self, path: &str, size: u64) -> bool {
        size > 0 && self.of(path).is_some_and(|mode| mode.way == "lfs")
    }

    /// That the hub takes the file, in one of the two ways.
    fn check(&self, path: &str) -> Result<()> {
        let detail = match self.of(path) {
            Some(mode) if mode.should_ignore => {
                "the repository's .gitignore has it ignored".to_owned()
            }
            Some(mode) if ["lfs", "regular"].contains(&mode.way.as_str()) => return Ok(()),
            Some(mode) => format!("the hub takes it by {:?} alone", mode.way),
            None => "the hub says nothing of it".to_owned(),
        };
        Err(Error::PermissionDenied {
            path: path.to_owned(),
            source: detail.into(),
        })
    }
}

/// Where a file lies in the repository.
fn path(place: &Place<'_>, file: &HubFile<'_>) -> String {
    let folder = place.path.trim_end_matches('/');
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{folder}{slash}{}", file.name)
}

fn sample(path: &Path) -> io::Result<Vec<u8>> {
    let mut sample = Vec::new();
    File::open(path)?.take(SAMPLE).read_to_end(&mut sample)?;
    Ok(sample)
}

fn header(commit: &HubCommit<'_>) -> Value {
    let parent = match &commit.parent.store {
        Store::Hub(repository) => repository.revision.as_deref(),
        _ => None,
    };
    let value = json!({"summary": commit.message, "description": "", "parentCommit": parent});
    json!({"key": "header", "value": value})
}

fn large_line(path: &str, file: &HubFile<'_>) -> Value {
    let value = json!({"path": path, "algo": "sha256", "oid": file.sha256, "size": file.size});
    json!({"key": "lfsFile", "value": value})
}

/// A small file is read again here, and has to be what it was.
fn small_line(path: &str, file: &HubFile<'_>) -> Result<Value> {
    let bytes = std::fs::read(file.path).map_err(failed)?;
    if sha256_of(&bytes) != file.sha256 {
        return Err(failed(format!("{} changed while it was read", file.name)));
    }
    let content = BASE64_STANDARD.encode(bytes);
    let value = json!({"path": path, "content": content, "encoding": "base64"});
    Ok(json!({"key": "file", "value": value}))
}
