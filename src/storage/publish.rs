//! Writing in one go: objects are created, never replaced.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStore, PutMode, path::Path as Key};

use super::{
    Storage, StorageError,
    digest::{Published, sha256_of},
    local,
    location::{Location, Store},
    read::key,
    requests::{self, Operation, counted},
};

impl Storage {
    /// Creates an object from bytes. The same content already there is success.
    ///
    /// # Errors
    /// `already_exists` where other content is there; `not_a_folder`.
    pub async fn publish_bytes(
        &self,
        location: &Location,
        bytes: Bytes,
    ) -> Result<Published, StorageError> {
        let published = Published {
            size: bytes.len() as u64,
            sha256: sha256_of(&bytes),
        };
        let created = if location.store == Store::File {
            let folder = self.inner.roots.hold_parent(location)?;
            folder.create(location.name(), &mut |file| {
                local::write_all(file, &bytes, location)
            })?
        } else {
            self.admit(location)?;
            let client = self.inner.clients.of(location)?;
            let key = key(location)?;
            let put = client.put_opts(&key, bytes.into(), PutMode::Create.into());
            let put = counted(Operation::Put, put).await;
            match put {
                Ok(_) => true,
                Err(Error::AlreadyExists { .. }) => false,
                Err(error) => return Err(StorageError::from_store(location, &error)),
            }
        };
        if created || self.holds(location, &published).await? {
            return Ok(published);
        }

        Err(StorageError::AlreadyExists {
            location: location.to_string(),
        })
    }

    /// Whether exactly this is there.
    pub(super) async fn holds(
        &self,
        location: &Location,
        expected: &Published,
    ) -> Result<bool, StorageError> {
        match self.unwatched().digest(location).await {
            Ok(found) => Ok(found == *expected),
            Err(StorageError::NotFound { .. } | StorageError::NotAFile { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object; one that is not there is fine.
    ///
    /// # Errors
    /// What keeps the store from deleting.
    pub async fn delete_object(&self, location: &Location) -> Result<(), StorageError> {
        if location.store == Store::File {
            return self.delete_folder(location);
        }
        self.admit(location)?;
        self.delete_keys(location, vec![key(location)?]).await
    }

    /// Deletes a folder with everything in it; one that is not there is fine.
    ///
    /// # Errors
    /// `location_not_allowed` for the root of a store; what keeps the store from deleting.
    pub async fn delete_prefix(&self, folder: &Location) -> Result<(), StorageError> {
        if folder.key.is_empty() {
            let error = super::LocationError::not_allowed(
                &folder.to_string(),
                "is the root of a store and is never deleted",
            );
            return Err(error.into());
        }

        if folder.store == Store::File {
            // By folder, not by listing: what is not whole yet is not listed.
            return self.delete_folder(folder);
        }

        let keys = self.keys_under(folder).await?;
        self.delete_keys(folder, keys).await
    }

    /// Removes a file or a folder of this machine, through the folder that it is in.
    pub(super) fn delete_folder(&self, location: &Location) -> Result<(), StorageError> {
        let parent = match self.inner.roots.hold(&location.parent()) {
            Err(StorageError::NotFound { .. }) => return Ok(()),
            parent => parent?,
        };
        let path = parent.path().join(location.name());
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());

        let removed = if is_folder {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };

        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StorageError::from_io(location, &error))
            }
            _ => Ok(()),
        }
    }

    /// Every object under a folder, however deep.
    pub(super) async fn keys_under(&self, folder: &Location) -> Result<Vec<Key>, StorageError> {
        self.admit(folder)?;
        let client = self.inner.clients.of(folder)?;
        let found = client
            .list(Some(&key(folder)?))
            .map_ok(|meta| meta.location);

        match counted(Operation::List, found.try_collect()).await {
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            found => found.map_err(|error| StorageError::from_store(folder, &error)),
        }
    }

    /// Deletes objects of a folder; those that are not there are fine.
    pub(super) async fn delete_keys(
        &self,
        folder: &Location,
        keys: Vec<Key>,
    ) -> Result<(), StorageError> {
        let client = self.inner.clients.of(folder)?;
        let keys = futures::stream::iter(keys.into_iter().map(Ok)).boxed();
        let mut deleted = client.delete_stream(keys);
        while let Some(outcome) = deleted.next().await {
            requests::count(Operation::Delete, outcome.as_ref().err());
            match outcome {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(StorageError::from_store(folder, &error)),
            }
        }
        Ok(())
    }
}
