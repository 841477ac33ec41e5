//! Writing: objects are created, never replaced.

use std::{fs::File, io::Read, path::Path};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, WriteMultipart};
use uuid::Uuid;

use super::{
    Storage, StorageError,
    digest::{CHUNK, Running, Sha256Hex, sha256_of},
    location::{Location, Store},
    read::key,
};

/// Files up to this size go in one request, which can be conditional.
const ONE_REQUEST: u64 = 16 << 20;
/// Stores demand 5 MiB a part at least and 10 000 parts at most.
const PART: u64 = 8 << 20;
const PARTS_LIMIT: u64 = 9_000;
/// Parts on their way at once.
const IN_FLIGHT: usize = 4;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub size: u64,
    pub sha256: Sha256Hex,
}

impl Storage {
    /// Creates an object from bytes. The same content already there is success.
    ///
    /// # Errors
    /// `already_exists` where other content is there.
    pub async fn publish_bytes(
        &self,
        location: &Location,
        bytes: Bytes,
    ) -> Result<Published, StorageError> {
        self.admit(location)?;
        let published = Published { size: bytes.len() as u64, sha256: sha256_of(&bytes) };
        let client = self.inner.clients.of(location)?;
        let put = client.put_opts(&key(location)?, bytes.into(), PutMode::Create.into()).await;
        self.created(location, put.map(drop), published).await
    }

    /// Creates an object from a file, in parts where it is large.
    pub(super) async fn publish_file(
        &self,
        location: &Location,
        path: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Published, StorageError> {
        let broken = |error: std::io::Error| StorageError::unavailable(&path.display(), &error);
        let size = path.metadata().map_err(broken)?.len();
        if size <= ONE_REQUEST {
            return self.publish_bytes(location, std::fs::read(path).map_err(broken)?.into()).await;
        }
        self.admit(location)?;
        let client = self.inner.clients.of(location)?;
        let target = key(location)?;
        if location.store != Store::File && self.exists(location).await? {
            let published = local_digest(path, go_on)?;
            return self.same_as_existing(location, published).await;
        }
        // A file system's upload ends in a rename, which replaces: so it goes beside the target
        // first, and is linked to its name only if that is free.
        let upload_key = match location.store {
            Store::File => key(&location.joined_name(&format!(".incoming-{}", Uuid::new_v4())))?,
            _ => target.clone(),
        };
        let store = |error: Error| StorageError::from_store(location, &error);
        let upload = client.put_multipart(&upload_key).await.map_err(store)?;
        let published = upload_file(location, path, upload, go_on).await?;
        let named = match location.store {
            Store::File => {
                let named = client.rename_if_not_exists(&upload_key, &target).await;
                if named.is_err() {
                    client.delete(&upload_key).await.map_err(store)?;
                }
                named
            }
            _ => Ok(()),
        };
        self.created(location, named, published).await
    }

    /// Turns "it is there already" into success where the content is the same.
    async fn created(
        &self,
        location: &Location,
        outcome: Result<(), Error>,
        published: Published,
    ) -> Result<Published, StorageError> {
        match outcome {
            Ok(()) => Ok(published),
            Err(Error::AlreadyExists { .. }) => self.same_as_existing(location, published).await,
            Err(error) => Err(StorageError::from_store(location, &error)),
        }
    }

    async fn same_as_existing(
        &self,
        location: &Location,
        published: Published,
    ) -> Result<Published, StorageError> {
        if self.digest(location).await? == published {
            return Ok(published);
        }
        Err(StorageError::AlreadyExists { location: location.to_string() })
    }

    /// Deletes a folder with everything in it; one that is not there is fine. For what a failed
    /// attempt left behind.
    ///
    /// # Errors
    /// `location_not_allowed` for the root of a store; what keeps the store from deleting.
    pub async fn delete_prefix(&self, folder: &Location) -> Result<(), StorageError> {
        let path = self.admit(folder)?;
        if folder.key.is_empty() {
            let error = super::LocationError::not_allowed(
                &folder.to_string(),
                "is the root of a store and is never deleted",
            );
            return Err(error.into());
        }
        if folder.store == Store::File {
            // By folder, not by listing: unfinished uploads are not listed.
            return match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(StorageError::from_io(folder, &error))
                }
                _ => Ok(()),
            };
        }
        let client = self.inner.clients.of(folder)?;
        let keys = client.list(Some(&key(folder)?)).map_ok(|meta| meta.location).boxed();
        let deleted: Result<Vec<_>, Error> = client.delete_stream(keys).try_collect().await;
        match deleted {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::from_store(folder, &error)),
        }
    }
}

impl Location {
    /// A name beside this one, for an object on its way to it.
    fn joined_name(&self, suffix: &str) -> Self {
        Self { store: self.store.clone(), key: format!("{}{suffix}", self.key) }
    }
}

fn local_digest(path: &Path, go_on: &dyn Fn() -> bool) -> Result<Published, StorageError> {
    let found = super::digest::of_file(path, go_on)
        .map_err(|error| StorageError::unavailable(&path.display(), &error))?;
    let (size, sha256) = found.ok_or(StorageError::Stopped)?;
    Ok(Published { size, sha256 })
}

/// Sends a file's parts and completes the upload, or aborts it.
async fn upload_file(
    location: &Location,
    path: &Path,
    upload: Box<dyn MultipartUpload>,
    go_on: &dyn Fn() -> bool,
) -> Result<Published, StorageError> {
    let size = path.metadata().map_or(0, |found| found.len());
    let part = size.div_ceil(PARTS_LIMIT).max(PART);
    let mut parts = WriteMultipart::new_with_chunk_size(upload, part as usize);
    match send_parts(location, path, &mut parts, go_on).await {
        Ok(published) => {
            let finished = parts.finish().await;
            finished.map_err(|error| StorageError::from_store(location, &error))?;
            Ok(published)
        }
        Err(error) => {
            // The first error is the one to report.
            let _ = parts.abort().await;
            Err(error)
        }
    }
}

async fn send_parts(
    location: &Location,
    path: &Path,
    parts: &mut WriteMultipart,
    go_on: &dyn Fn() -> bool,
) -> Result<Published, StorageError> {
    let broken = |error: std::io::Error| StorageError::unavailable(&path.display(), &error);
    let mut file = File::open(path).map_err(broken)?;
    let mut running = Running::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        if !go_on() {
            return Err(StorageError::Stopped);
        }
        let read = file.read(&mut buffer).map_err(broken)?;
        if read == 0 {
            let (size, sha256) = running.finish();
            return Ok(Published { size, sha256 });
        }
        let ready = parts.wait_for_capacity(IN_FLIGHT).await;
        ready.map_err(|error| StorageError::from_store(location, &error))?;
        parts.write(&buffer[..read]);
        running.update(&buffer[..read]);
    }
}
