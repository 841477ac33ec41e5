//! What attempts have left is removed, and their uploads are ended.

use object_store::{Error, ObjectStoreExt, path::Path as Key};
use uuid::Uuid;

use super::{ATTEMPTS, Attempt, UPLOADS, is_gone};
use crate::storage::{
    Storage, StorageError,
    location::{Location, Store},
    read::key,
    requests::{Operation, counted},
};

impl Storage {
    /// Removes what an attempt has written aside, and ends its uploads.
    pub(in crate::storage) async fn clear_attempt(
        &self,
        attempt: &Attempt,
    ) -> Result<(), StorageError> {
        if attempt.folder.store == Store::File {
            return self.delete_folder(&attempt.own());
        }
        let keys = self.keys_under(&attempt.own()).await?;
        let uploads = key(&attempt.own().joined(UPLOADS))?;
        for noted in keys.iter().filter(|key| key.prefix_matches(&uploads)) {
            self.end_upload(attempt, noted, &uploads).await?;
        }
        self.delete_keys(&attempt.folder, keys).await
    }

    /// Ends the upload of which the number is written down under `noted`.
    async fn end_upload(
        &self,
        attempt: &Attempt,
        noted: &Key,
        uploads: &Key,
    ) -> Result<(), StorageError> {
        let name = noted.as_ref()[uploads.as_ref().len()..].trim_start_matches('/');
        let target = key(&attempt.folder.joined(name))?;
        let client = self.inner.clients.of(&attempt.folder)?;
        let number = match counted(Operation::Get, client.get(noted)).await {
            Err(Error::NotFound { .. }) => return Ok(()),
            number => number
                .map_err(StorageError::store_at(&attempt.folder))?
                .bytes()
                .await
                .map_err(StorageError::store_at(&attempt.folder))?,
        };

        let id = String::from_utf8_lossy(&number).into_owned();
        let client = self.inner.clients.parts(&attempt.folder)?;
        let ended = client.abort_multipart(&target, &id);
        match counted(Operation::AbortUpload, ended).await {
            Err(error) if !is_gone(&error) => {
                Err(StorageError::from_store(&attempt.folder, &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes everything from a folder but these files: what attempts have left, the finished one's
    /// last. `finished` says whose uploads have become files.
    pub(in crate::storage) async fn tidy(
        &self,
        folder: &Location,
        keep: &[&str],
        finished: &[Uuid],
    ) -> Result<(), StorageError> {
        for attempt in self.attempts(folder).await? {
            if !finished.contains(&attempt.id) {
                self.clear_attempt(&attempt).await?;
            }
        }

        if folder.store == Store::File {
            return self.tidy_files(folder, keep);
        }
        let front = key(folder)?.as_ref().len() + 1;
        let mut keys = self.keys_under(folder).await?;
        keys.retain(|key| {
            key.as_ref()
                .get(front..)
                .is_some_and(|name| !keep.contains(&name))
        });
        self.delete_keys(folder, keys).await
    }

    /// Removes from a folder of this machine what is none of these files and does not hold one.
    fn tidy_files(&self, folder: &Location, keep: &[&str]) -> Result<(), StorageError> {
        let held = self.inner.roots.hold(folder)?;
        for entry in std::fs::read_dir(held.path()).map_err(StorageError::io_at(folder))? {
            let entry = entry.map_err(StorageError::io_at(folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if keep.contains(&name.as_str()) {
                continue;
            }
            let front = format!("{name}/");
            let inside: Vec<&str> = keep
                .iter()
                .filter_map(|kept| kept.strip_prefix(front.as_str()))
                .collect();
            let place = folder.joined(&name);
            if inside.is_empty() {
                self.delete_folder(&place)?;
            } else {
                self.tidy_files(&place, &inside)?;
            }
        }
        Ok(())
    }

    /// Removes what an attempt has written, and the folder where nothing else is in it.
    pub(in crate::storage) async fn abandon(&self, attempt: &Attempt) -> Result<(), StorageError> {
        self.clear_attempt(attempt).await?;
        if attempt.folder.store != Store::File {
            return Ok(());
        }

        for folder in [attempt.folder.joined(ATTEMPTS), attempt.folder.clone()] {
            let Ok(parent) = self.inner.roots.hold(&folder.parent()) else {
                break;
            };
            // What is not empty stays.
            if std::fs::remove_dir(parent.path().join(folder.name())).is_err() {
                break;
            }
        }
        Ok(())
    }
}
