//! Files on their way into a folder: written aside by one attempt, put in their places once they are
//! whole.
//!
//! Several attempts at one result may be under way without knowing of each other: a process that was
//! stopped, or a request that hung in a network, may come back long after its lease. So no attempt
//! writes, replaces or deletes what another may have written. It keeps its files where no other attempt
//! has anything, below `<folder>/.attempts/<attempt>/`; a large file of a store in a multipart upload to
//! its last name, which shows nothing until it is completed. Which attempt's files get their last names
//! is decided once (see `artifacts::result`), and from then on everybody who puts files in their places
//! puts the same bytes there: a request that arrives late, again or twice changes nothing.
//!
//! Copies instead of uploads to the last name were the alternative: every byte of a model would be
//! written twice, and stores copy at most 5 GiB in one request.
//!
//! The number of every upload is written down before its first part, so that whoever comes after a
//! process that was killed can end it.

mod taken;

use std::io;

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesOrdered};
use object_store::{Error, ObjectStoreExt, multipart::PartId, path::Path as Key};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    Published, Storage, StorageError,
    location::{Location, Store},
    read::key,
    requests::{Operation, counted},
};
use taken::Taken;

/// Files up to this size go in one request.
const ONE_REQUEST: u64 = 16 << 20;
/// Stores demand 5 MiB a part at least and 10 000 parts at most.
const PART: u64 = 8 << 20;
const PARTS_LIMIT: u64 = 9_000;
/// Parts on their way at once.
const IN_FLIGHT: usize = 4;

/// In a result's folder: what attempts keep until it has its place.
pub const ATTEMPTS: &str = ".attempts";
const FILES: &str = "files";
const UPLOADS: &str = "uploads";
/// Written first, so that a place that cannot be written to is found before anything is computed.
const BEGUN: &str = "begun";

/// The content of a file, in order.
pub(super) type Pieces<'a> = &'a mut dyn Iterator<Item = io::Result<Bytes>>;

/// One attempt at a folder.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: Uuid,
    folder: Location,
}

/// A file that is whole, and has not got its last name yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Relative to the folder.
    pub name: String,
    pub size: u64,
    pub sha256: String,
    /// Of a multipart upload to the last name; `None`: a file of the attempt's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<Upload>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Upload {
    id: String,
    parts: Vec<String>,
}

impl Attempt {
    /// A new attempt, that nobody else has the name of.
    pub fn new(folder: &Location) -> Self {
        Self::named(folder, Uuid::now_v7())
    }

    pub fn named(folder: &Location, id: Uuid) -> Self {
        Self { id, folder: folder.clone() }
    }

    /// The folder of what this attempt alone writes and deletes.
    fn own(&self) -> Location {
        self.folder.joined(&format!("{ATTEMPTS}/{}", self.id))
    }

    fn file(&self, name: &str) -> Location {
        self.own().joined(&format!("{FILES}/{name}"))
    }

    /// Where the number of the upload of a file is written down.
    fn upload(&self, name: &str) -> Location {
        self.own().joined(&format!("{UPLOADS}/{name}"))
    }
}

impl Staged {
    fn content(&self) -> Published {
        Published { size: self.size, sha256: self.sha256.clone() }
    }
}

impl Storage {
    /// Makes the attempt known, by its first write.
    pub(super) async fn begin_attempt(&self, attempt: &Attempt) -> Result<(), StorageError> {
        let begun = attempt.own().joined(BEGUN);
        self.publish_bytes(&begun, Bytes::from_static(b"begun\n")).await.map(drop)
    }

    /// The attempts that have left something in a folder.
    pub(super) async fn attempts(&self, folder: &Location) -> Result<Vec<Attempt>, StorageError> {
        let found = self.list(&folder.joined(ATTEMPTS)).await?.folders;
        let id = |place: &Location| place.name().parse::<Uuid>().ok();
        Ok(found.iter().filter_map(id).map(|id| Attempt::named(folder, id)).collect())
    }

    /// Writes a file of `size` bytes aside, in parts where it is large. Memory: the pieces on their way.
    pub(super) async fn stage(
        &self,
        (attempt, name): (&Attempt, &str),
        (size, pieces): (u64, Pieces<'_>),
        go_on: &dyn Fn() -> bool,
    ) -> Result<Staged, StorageError> {
        let place = attempt.folder.joined(name);
        self.admit(&place)?;
        let mut taken = Taken::new(&place, pieces, go_on);
        let mut upload = None;
        if place.store == Store::File {
            let aside = attempt.file(name);
            let folder = self.inner.roots.hold_parent(&aside)?;
            folder.create(aside.name(), &mut |file| taken.write_to(file))?;
        } else if size > ONE_REQUEST {
            upload = Some(self.upload((attempt, name), size, &mut taken).await?);
        } else {
            let whole = taken.whole(size)?;
            self.publish_bytes(&attempt.file(name), whole).await?;
        }
        let (size, sha256) = taken.running.finish();
        Ok(Staged { name: name.to_owned(), size, sha256, upload })
    }

    /// Sends a file in parts, and leaves it at that.
    async fn upload(
        &self,
        (attempt, name): (&Attempt, &str),
        size: u64,
        taken: &mut Taken<'_>,
    ) -> Result<Upload, StorageError> {
        let (client, target) = (self.inner.clients.parts(taken.place)?, key(taken.place)?);
        let store = |error: Error| StorageError::from_store(&attempt.folder, &error);
        let id = counted(Operation::CreateUpload, client.create_multipart(&target));
        let id = id.await.map_err(store)?;
        self.publish_bytes(&attempt.upload(name), id.clone().into()).await?;
        let part = size.div_ceil(PARTS_LIMIT).max(PART);
        let (mut going, mut parts, mut number) = (FuturesOrdered::new(), Vec::new(), 0);
        while let Some(payload) = taken.part(part)? {
            if going.len() == IN_FLIGHT
                && let Some(done) = going.next().await
            {
                parts.push(sent(taken.place, done)?);
            }
            let (client, target, id) = (client.clone(), target.clone(), id.clone());
            let send = async move {
                let part = client.put_part(&target, &id, number, payload);
                counted(Operation::PutPart, part).await
            };
            going.push_back(AbortOnDropHandle::new(tokio::spawn(send)));
            number += 1;
        }
        while let Some(done) = going.next().await {
            parts.push(sent(taken.place, done)?);
        }
        Ok(Upload { id, parts })
    }

    /// Gives a file its last name, in place of whatever has it. False where what was written aside is
    /// gone and the name has other content: then nobody can put it there any more.
    pub(super) async fn put_in_place(
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
        let (source, name) = (source.path().join(from.name()), target.path().join(to.name()));
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
            let part = |part: &String| PartId { content_id: part.clone() };
            let parts = parts.iter().map(part).collect();
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

    /// Removes what an attempt has written aside, and ends its uploads.
    pub(super) async fn clear_attempt(&self, attempt: &Attempt) -> Result<(), StorageError> {
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
        let store = |error: Error| StorageError::from_store(&attempt.folder, &error);
        let client = self.inner.clients.of(&attempt.folder)?;
        let number = match counted(Operation::Get, client.get(noted)).await {
            Err(Error::NotFound { .. }) => return Ok(()),
            number => number.map_err(store)?.bytes().await.map_err(store)?,
        };
        let id = String::from_utf8_lossy(&number).into_owned();
        let client = self.inner.clients.parts(&attempt.folder)?;
        let ended = client.abort_multipart(&target, &id);
        match counted(Operation::AbortUpload, ended).await {
            Err(error) if !is_gone(&error) => Err(store(error)),
            _ => Ok(()),
        }
    }

    /// Removes everything from a folder but these files: what attempts have left, the finished one's
    /// last. `finished` says whose uploads have become files.
    pub(super) async fn tidy(
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
        keys.retain(|key| key.as_ref().get(front..).is_some_and(|name| !keep.contains(&name)));
        self.delete_keys(folder, keys).await
    }

    fn tidy_files(&self, folder: &Location, keep: &[&str]) -> Result<(), StorageError> {
        let held = self.inner.roots.hold(folder)?;
        let broken = |error: io::Error| StorageError::from_io(folder, &error);
        let kept: Vec<_> = keep.iter().filter_map(|name| name.split('/').next()).collect();
        for entry in std::fs::read_dir(held.path()).map_err(broken)? {
            let name = entry.map_err(broken)?.file_name();
            if !kept.iter().any(|kept| name == **kept) {
                self.delete_folder(&folder.joined(&name.to_string_lossy()))?;
            }
        }
        Ok(())
    }

    /// Removes what an attempt has written, and the folder where nothing else is in it.
    pub(super) async fn abandon(&self, attempt: &Attempt) -> Result<(), StorageError> {
        self.clear_attempt(attempt).await?;
        if attempt.folder.store != Store::File {
            return Ok(());
        }
        for folder in [attempt.folder.joined(ATTEMPTS), attempt.folder.clone()] {
            let Ok(parent) = self.inner.roots.hold(&folder.parent()) else { break };
            // What is not empty stays.
            if std::fs::remove_dir(parent.path().join(folder.name())).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// What servers say of an upload that was ended, or of a file that was removed. One that denies all
/// knowledge of an upload may mean that, too.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. } | Error::PermissionDenied { .. })
}

fn sent(
    place: &Location,
    done: Result<object_store::Result<PartId>, tokio::task::JoinError>,
) -> Result<String, StorageError> {
    let done = done.map_err(|error| StorageError::unavailable(place, &error))?;
    let part = done.map_err(|error| StorageError::from_store(place, &error))?;
    Ok(part.content_id)
}
