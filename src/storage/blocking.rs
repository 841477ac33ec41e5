//! [`Storage`] for threads outside the runtime: the pipeline computes and blocks.

use std::{
    fs::File,
    io::{self, Read},
    iter,
    ops::Range,
    path::Path,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    HubCommit, Storage, StorageError,
    digest::{CHUNK, Published},
    fetch::FetchedFile,
    listing::{Listing, ObjectInfo},
    location::Location,
    staging::{Attempt, Content, NewFile, Staged},
};

/// The operations of [`Storage`], waiting for each. Panics inside the runtime's own threads.
///
/// `go_on` is asked between chunks; a `false` ends the operation as [`StorageError::Stopped`].
#[derive(Clone, Copy, Debug)]
pub struct Blocking<'a> {
    pub(super) storage: &'a Storage,
}

impl Blocking<'_> {
    /// # Errors
    /// As [`Storage::head`].
    pub fn head(&self, location: &Location) -> Result<ObjectInfo, StorageError> {
        self.wait(self.storage.head(location))
    }

    /// # Errors
    /// As [`Storage::pin`].
    pub fn pin(&self, location: &Location) -> Result<Location, StorageError> {
        self.wait(self.storage.pin(location))
    }

    /// # Errors
    /// As [`Storage::exists`].
    pub fn exists(&self, location: &Location) -> Result<bool, StorageError> {
        self.wait(self.storage.exists(location))
    }

    /// # Errors
    /// As [`Storage::list`].
    pub fn list(&self, folder: &Location) -> Result<Listing, StorageError> {
        self.wait(self.storage.list(folder))
    }

    /// # Errors
    /// As [`Storage::read_small`].
    pub fn read_small(&self, location: &Location, limit: u64) -> Result<Bytes, StorageError> {
        self.wait(self.storage.read_small(location, limit))
    }

    /// # Errors
    /// As [`Storage::read_range`].
    pub fn read_range(
        &self,
        location: &Location,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        self.wait(self.storage.read_range(location, range))
    }

    /// # Errors
    /// As [`Storage::digest`].
    pub fn digest(&self, location: &Location) -> Result<Published, StorageError> {
        self.wait(self.storage.digest(location))
    }

    /// An object as a file on this machine, with its digest: a file where it is, anything else as
    /// a copy in `scratch`, an existing folder that the caller empties in the end.
    ///
    /// # Errors
    /// `not_found`, `input_changed`; `storage_truncated` where the store keeps sending too little.
    pub fn fetch(
        &self,
        location: &Location,
        scratch: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<FetchedFile, StorageError> {
        self.wait(self.storage.fetch(location, scratch, go_on))
    }

    /// # Errors
    /// As [`Storage::publish_bytes`].
    pub fn publish_bytes(
        &self,
        location: &Location,
        bytes: Bytes,
    ) -> Result<Published, StorageError> {
        self.wait(self.storage.publish_bytes(location, bytes))
    }

    /// Starts an attempt at a folder: its first write, which finds a place that cannot be written to.
    ///
    /// # Errors
    /// `not_a_folder`, `storage_denied`; what keeps the store from writing.
    pub fn begin_attempt(&self, folder: &Location) -> Result<Attempt, StorageError> {
        let attempt = Attempt::new(folder);
        self.wait(self.storage.begin_attempt(&attempt))?;
        Ok(attempt)
    }

    /// # Errors
    /// As [`Storage::commit_to_hub`].
    pub fn commit_to_hub(&self, commit: &HubCommit<'_>) -> Result<Location, StorageError> {
        self.wait(self.storage.commit_to_hub(commit))
    }

    /// The attempts that have left something in a folder.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub fn attempts(&self, folder: &Location) -> Result<Vec<Attempt>, StorageError> {
        self.wait(self.storage.attempts(folder))
    }

    /// Writes a file of an attempt's aside, from the pieces that make it up, asked for one after the
    /// other.
    ///
    /// # Errors
    /// What keeps the store from writing; `stopped`.
    pub fn stage(
        &self,
        file: NewFile<'_>,
        content: Content<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Staged, StorageError> {
        self.wait(self.storage.stage(file, content, go_on))
    }

    /// The same from a file of this machine.
    ///
    /// # Errors
    /// As [`Blocking::stage`].
    pub fn stage_file(
        &self,
        file: NewFile<'_>,
        path: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Staged, StorageError> {
        let name = path.display();
        let opened = File::open(path).map_err(StorageError::io_at(&name))?;
        let size = opened.metadata().map_err(StorageError::io_at(&name))?.len();
        self.stage(
            file,
            Content {
                size,
                pieces: &mut pieces_of(opened),
            },
            go_on,
        )
    }

    /// Gives a file its last name. False where it is gone.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub fn put_in_place(&self, attempt: &Attempt, file: &Staged) -> Result<bool, StorageError> {
        self.wait(self.storage.put_in_place(attempt, file))
    }

    /// Removes what an attempt has written aside, and ends its uploads.
    ///
    /// # Errors
    /// What keeps the store from deleting.
    pub fn clear_attempt(&self, attempt: &Attempt) -> Result<(), StorageError> {
        self.wait(self.storage.clear_attempt(attempt))
    }

    /// The same, and removes the folder where nothing else is in it.
    ///
    /// # Errors
    /// What keeps the store from deleting.
    pub fn abandon(&self, attempt: &Attempt) -> Result<(), StorageError> {
        self.wait(self.storage.abandon(attempt))
    }

    /// Removes everything from a folder but these files; of the attempts named the uploads have become
    /// files, others' are ended.
    ///
    /// # Errors
    /// What keeps the store from deleting.
    pub fn tidy(
        &self,
        folder: &Location,
        keep: &[&str],
        finished: &[Uuid],
    ) -> Result<(), StorageError> {
        self.wait(self.storage.tidy(folder, keep, finished))
    }

    /// # Errors
    /// As [`Storage::delete_prefix`].
    pub fn delete_prefix(&self, folder: &Location) -> Result<(), StorageError> {
        self.wait(self.storage.delete_prefix(folder))
    }

    fn wait<T>(self, operation: impl Future<Output = T>) -> T {
        self.storage.inner.handle.block_on(operation)
    }
}

/// A file's bytes, a piece at a time.
fn pieces_of(mut file: File) -> impl Iterator<Item = io::Result<Bytes>> {
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
