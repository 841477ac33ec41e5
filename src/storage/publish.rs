//! Writing: objects are created, never replaced.

use std::{
    fs::File,
    io::{self, Read},
    iter,
};

use bytes::{Bytes, BytesMut};
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

/// The content of an object, in order.
pub(super) type Chunks<'a> = &'a mut dyn Iterator<Item = io::Result<Bytes>>;

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

    /// Creates an object of `size` bytes from the chunks that make it up, in parts where it is
    /// large. Memory: the chunks on their way.
    pub(super) async fn publish_chunks(
        &self,
        location: &Location,
        size: u64,
        chunks: Chunks<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Published, StorageError> {
        if size <= ONE_REQUEST {
            let mut whole = BytesMut::with_capacity(size as usize);
            pass(location, chunks, go_on, &mut |chunk| whole.extend_from_slice(&chunk))?;
            return self.publish_bytes(location, whole.freeze()).await;
        }
        self.admit(location)?;
        if location.store != Store::File && self.exists(location).await? {
            let published = pass(location, chunks, go_on, &mut drop)?;
            return self.same_as_existing(location, published).await;
        }
        let client = self.inner.clients.of(location)?;
        let target = key(location)?;
        // A file system's upload ends in a rename, which replaces: so it goes beside the target
        // first, and is linked to its name only if that is free.
        let incoming = match location.store {
            Store::File => key(&location.beside(&format!(".incoming-{}", Uuid::new_v4())))?,
            _ => target.clone(),
        };
        let store = |error: Error| StorageError::from_store(location, &error);
        let upload = client.put_multipart(&incoming).await.map_err(store)?;
        let published = send(location, upload, (size, chunks), go_on).await?;
        if incoming == target {
            return Ok(published);
        }
        let named = client.rename_if_not_exists(&incoming, &target).await;
        if named.is_err() {
            client.delete(&incoming).await.map_err(store)?;
        }
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
    fn beside(&self, suffix: &str) -> Self {
        Self { store: self.store.clone(), key: format!("{}{suffix}", self.key) }
    }
}

/// A file's bytes, a piece at a time.
pub(super) fn chunks_of(mut file: File) -> impl Iterator<Item = io::Result<Bytes>> {
    iter::from_fn(move || {
        let mut buffer = vec![0; CHUNK];
        match file.read(&mut buffer) {
            Ok(0) => None,
            Ok(read) => {
                buffer.truncate(read);
                Some(Ok(buffer.into()))
            }
            Err(error) => Some(Err(error)),
        }
    })
}

/// Sends the parts of an upload and completes it, or aborts it.
async fn send(
    location: &Location,
    upload: Box<dyn MultipartUpload>,
    (size, chunks): (u64, Chunks<'_>),
    go_on: &dyn Fn() -> bool,
) -> Result<Published, StorageError> {
    let part = size.div_ceil(PARTS_LIMIT).max(PART);
    let mut parts = WriteMultipart::new_with_chunk_size(upload, part as usize);
    match send_parts(location, &mut parts, chunks, go_on).await {
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
    parts: &mut WriteMultipart,
    chunks: Chunks<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<Published, StorageError> {
    let mut running = Running::default();
    for chunk in chunks {
        let mut chunk = chunk.map_err(|error| StorageError::unavailable(location, &error))?;
        while !chunk.is_empty() {
            if !go_on() {
                return Err(StorageError::Stopped);
            }
            let ready = parts.wait_for_capacity(IN_FLIGHT).await;
            ready.map_err(|error| StorageError::from_store(location, &error))?;
            let piece = chunk.split_to(chunk.len().min(CHUNK));
            running.update(&piece);
            parts.put(piece);
        }
    }
    let (size, sha256) = running.finish();
    Ok(Published { size, sha256 })
}

/// Hands every chunk to `take`, and says what went by.
fn pass(
    location: &Location,
    chunks: Chunks<'_>,
    go_on: &dyn Fn() -> bool,
    take: &mut dyn FnMut(Bytes),
) -> Result<Published, StorageError> {
    let mut running = Running::default();
    for chunk in chunks {
        if !go_on() {
            return Err(StorageError::Stopped);
        }
        let chunk = chunk.map_err(|error| StorageError::unavailable(location, &error))?;
        running.update(&chunk);
        take(chunk);
    }
    let (size, sha256) = running.finish();
    Ok(Published { size, sha256 })
}
