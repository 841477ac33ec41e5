//! Files that are whole get their last names.

use std::io;

use object_store::{ObjectStoreExt, multipart::PartId};

use super::{Attempt, Staged, Upload, is_gone};
use crate::storage::{
    Storage, StorageError,
    location::{Location, Store},
    read::key,
    requests::{Operation, counted},
};

impl Storage {
    /// Gives a file its last name, in place of whatever has it. False where what was written aside is
    /// gone and the name has other content: then nobody can put it there any more.
    pub(in crate::storage) async fn put_in_place(
        &self,
        attempt: &Attempt,
        file: &Staged,
    ) -> Result<bool, StorageError> {
        let place = attempt.folder.joined(&file.name);
        let put = if place.store == Store::File {
            self.rename(&attempt.file(&file.name), &place)
        } else {
            self.complete(attempt, file, &place).await
        };

        match put {
            Ok(true) => Ok(true),
            Ok(false) => self.holds(&place, &file.content()).await,
            // It may have been done before, or just now: then the answer was lost.
            Err(error) => match self.holds(&place, &file.content()).await {
                Ok(true) => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// False where there is nothing to rename.
    fn rename(&self, from: &Location, to: &Location) -> Result<bool, StorageError> {
        let source = match self.inner.roots.hold(&from.parent()) {
            Err(StorageError::NotFound { .. }) => return Ok(false),
            source => source?,
        };
        let target = self.inner.roots.hold_parent(to)?;
        let (source, name) = (
            source.path().join(from.name()),
            target.path().join(to.name()),
        );

        match std::fs::rename(source, name) {
            Ok(()) => target.sync().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::from_folder(to, &error)),
        }
    }

    /// False where the upload, or the file, is gone.
    async fn complete(
        &self,
        attempt: &Attempt,
        file: &Staged,
        place: &Location,
    ) -> Result<bool, StorageError> {
        self.admit(place)?;
        let target = key(place)?;
        let done = if let Some(Upload { id, parts }) = &file.upload {
            let parts = parts
                .iter()
                .map(|part| PartId {
                    content_id: part.clone(),
                })
                .collect();
            let client = self.inner.clients.parts(place)?;
            let done = client.complete_multipart(&target, id, parts);
            counted(Operation::CompleteUpload, done).await.map(drop)
        } else {
            let source = key(&attempt.file(&file.name))?;
            let client = self.inner.clients.of(place)?;
            counted(Operation::Copy, client.copy(&source, &target)).await
        };

        match done {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(StorageError::from_store(place, &error)),
        }
    }
}
