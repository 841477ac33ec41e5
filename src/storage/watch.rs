//! Whether what was read is still what it was.
//!
//! A transfer reads for a long time: configurations at first, values whenever they are needed. Its
//! manifest may name a digest only if every value came from the bytes of that digest. So the mark of each
//! object (a server's etag; of a file: device, inode, size, times) is kept from the first time it is
//! opened. One that differs later is `input_changed`, be it in the same place or another file of the
//! same name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Storage, StorageError,
    location::{Location, Store},
};

/// The mark of every object that has been read.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<HashMap<Location, String>>);

impl Watched {
    fn marks(&self) -> MutexGuard<'_, HashMap<Location, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// The same storage, which keeps in mind what is read through it, and through copies of it.
    #[must_use]
    pub fn watching(&self) -> Self {
        Self {
            watched: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// The same storage, which keeps nothing in mind: for what is no input.
    #[must_use]
    pub fn unwatched(&self) -> Self {
        Self {
            watched: None,
            ..self.clone()
        }
    }

    /// Whether every file that was read is what it was when it was first opened. Copies of remote objects
    /// are nobody else's, and compared whenever they are read again.
    ///
    /// # Errors
    /// `input_changed`, with the first such file.
    pub fn check_unchanged(&self) -> Result<(), StorageError> {
        let Some(watched) = &self.watched else {
            return Ok(());
        };
        let mut marks: Vec<_> = watched.marks().clone().into_iter().collect();
        marks.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));

        for (location, mark) in marks {
            let is_file = location.store == Store::File;
            if is_file
                && !self
                    .inner
                    .roots
                    .hold(&location)
                    .is_ok_and(|held| held.has_mark(&mark))
            {
                return Err(StorageError::Changed {
                    location: location.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Notes what is read, and refuses what was read before and was something else then.
    pub(super) fn watch(
        &self,
        location: &Location,
        mark: Option<&str>,
    ) -> Result<(), StorageError> {
        let (Some(watched), Some(mark)) = (&self.watched, mark) else {
            return Ok(());
        };
        let mut marks = watched.marks();
        let first = marks
            .entry(location.clone())
            .or_insert_with(|| mark.to_owned());
        if first == mark {
            return Ok(());
        }

        Err(StorageError::Changed {
            location: location.to_string(),
        })
    }
}
