//! An object as a file on this machine, with its digest.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use object_store::{GetOptions, GetRange};

use super::{
    Storage, StorageError,
    digest::{self, Running, Sha256Hex},
    listing::ObjectInfo,
    local::{self, Regular},
    location::{Location, Store},
    tries::Tries,
};

/// An object's bytes on this machine.
#[derive(Clone, Debug)]
pub struct FetchedFile {
    /// A copy in the scratch folder. For `file://` the very file that the digest is of, by whatever name
    /// it goes meanwhile: to be opened while this lives.
    pub path: PathBuf,
    pub size: u64,
    pub sha256: Sha256Hex,
    /// What `path` leads to, for `file://`.
    _opened: Option<Arc<File>>,
}

impl Storage {
    /// Brings an object to this machine; files are used where they are, opened once. A download that breaks off
    /// goes on from where it stopped, and ends whole or as an error.
    pub(super) async fn fetch(
        &self,
        location: &Location,
        scratch: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<FetchedFile, StorageError> {
        if location.store == Store::File {
            return self.fetch_file(location, go_on);
        }

        let object = self.head(location).await?;
        let name = &digest::sha256_of(location.to_string().as_bytes())[..16];
        let path = scratch.join(format!("{name}-{}", location.name()));
        let result = self.download(&object, &path, go_on).await;
        if result.is_err() {
            // What is left of a broken download is of no use; the scratch folder goes anyway.
            let _ = std::fs::remove_file(&path);
        }

        let (size, sha256) = result?;

        Ok(FetchedFile {
            path,
            size,
            sha256,
            _opened: None,
        })
    }

    fn fetch_file(
        &self,
        location: &Location,
        go_on: &dyn Fn() -> bool,
    ) -> Result<FetchedFile, StorageError> {
        let Regular { file, mark, .. } = self.inner.roots.open(location)?;
        self.watch(location, Some(&mark))?;
        let read = digest::of_file(&file, go_on).map_err(StorageError::io_at(location))?;
        let (size, sha256) = read.ok_or(StorageError::Stopped)?;
        let found = file.metadata().map_err(StorageError::io_at(location))?;
        if local::mark_of(&found) != mark {
            return Err(StorageError::Changed {
                location: location.to_string(),
            });
        }

        let path = local::path_of(&file);

        Ok(FetchedFile {
            path,
            size,
            sha256,
            _opened: Some(Arc::new(file)),
        })
    }

    async fn download(
        &self,
        object: &ObjectInfo,
        path: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(u64, Sha256Hex), StorageError> {
        let file = File::create(path);
        let mut file = file.map_err(|error| StorageError::unavailable(&path.display(), &error))?;
        let mut running = Running::default();
        let mut tries = Tries::default();

        while running.size() < object.size {
            let before = running.size();
            let outcome = self.append(object, &mut file, &mut running, go_on).await;
            let error = match outcome {
                Err(
                    error @ (StorageError::Unavailable { .. } | StorageError::Truncated { .. }),
                ) => error,
                other => {
                    other?;
                    continue;
                }
            };
            if running.size() > before {
                tries = Tries::default();
            }
            if !tries.wait(None).await {
                return Err(error);
            }
        }

        Ok(running.finish())
    }

    /// Appends what one request brings from where the file ends.
    async fn append(
        &self,
        object: &ObjectInfo,
        file: &mut File,
        running: &mut Running,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), StorageError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(running.size()..object.size)),
            if_match: object.etag.clone(),
            ..GetOptions::default()
        };
        cut(file, running.size()).map_err(scratch_fault)?;
        let mut download = self.get(&object.location, options).await?;

        if download.size != object.size {
            return Err(StorageError::Changed {
                location: object.location.to_string(),
            });
        }

        while let Some(chunk) = download.stream.try_next().await? {
            if !go_on() {
                return Err(StorageError::Stopped);
            }
            file.write_all(&chunk).map_err(scratch_fault)?;
            running.update(&chunk);
        }

        if running.size() == object.size {
            return Ok(());
        }

        Err(StorageError::Truncated {
            location: object.location.to_string(),
            received: running.size(),
            size: object.size,
        })
    }
}

fn scratch_fault(error: std::io::Error) -> StorageError {
    StorageError::unavailable(&"scratch folder", &error)
}

/// Goes on after the first `size` bytes: a write that failed, on a full disk, may have written a part
/// of its piece.
fn cut(file: &mut File, size: u64) -> std::io::Result<()> {
    file.set_len(size)?;
    file.seek(SeekFrom::Start(size)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_write_left_is_cut_off() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"whole, and a pie").unwrap();
        cut(&mut file, 5).unwrap();
        file.write_all(b" again").unwrap();
        file.rewind().unwrap();
        assert_eq!(std::io::read_to_string(file).unwrap(), "whole again");
    }
}
