//! [`Storage`] for threads outside the runtime: the pipeline computes and blocks.

use std::{fs::File, ops::Range, path::Path};

use bytes::Bytes;

use super::{
    Storage, StorageError,
    fetch::FetchedFile,
    location::Location,
    publish::{Published, chunks_of},
    read::{Listing, ObjectInfo},
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

    /// Creates an object from a file, in parts where it is large.
    ///
    /// # Errors
    /// `already_exists` where other content is there; the same content is success.
    pub fn publish_file(
        &self,
        location: &Location,
        path: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Published, StorageError> {
        let broken = |error| StorageError::from_io(&path.display(), &error);
        let file = File::open(path).map_err(broken)?;
        let size = file.metadata().map_err(broken)?.len();
        self.wait(self.storage.publish_chunks(location, size, &mut chunks_of(file), go_on))
    }

    /// Creates an object of `size` bytes from the pieces that make it up, asked for one after the
    /// other, in parts where it is large.
    ///
    /// # Errors
    /// As [`Blocking::publish_file`].
    pub fn publish_pieces(
        &self,
        location: &Location,
        (size, pieces): (u64, &mut dyn Iterator<Item = Bytes>),
        go_on: &dyn Fn() -> bool,
    ) -> Result<Published, StorageError> {
        let mut chunks = pieces.map(Ok);
        self.wait(self.storage.publish_chunks(location, size, &mut chunks, go_on))
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
