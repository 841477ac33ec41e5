//! A worker's folder for copies of remote inputs, and those that dead workers have left beside it.
//!
//! While a worker lives it holds a lock on a file beside its folder. The system takes the lock back when the
//! process ends, however it ends: a lock that can be had belongs to nobody, and the folder can go.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

const LOCK: &str = "lock";

/// A folder that is in use as long as this lives.
#[derive(Debug)]
pub struct Held {
    folder: PathBuf,
    _lock: File,
}

impl Held {
    /// Takes a folder and removes those beside it whose workers are dead. The folder is made by who needs it.
    ///
    /// # Errors
    /// A folder above it that cannot be written.
    pub fn take(folder: &Path) -> io::Result<Self> {
        if let Some(root) = folder.parent() {
            fs::create_dir_all(root)?;
            sweep(root);
        }
        let lock = File::create(lock_of(folder))?;
        lock.lock()?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        forget(&self.folder);
    }
}

/// Removes a worker's folder and its lock; there is nothing where it needed nothing.
pub fn forget(folder: &Path) {
    tell(folder, fs::remove_dir_all(folder));
    let lock = lock_of(folder);
    tell(&lock, fs::remove_file(&lock));
}

fn tell(path: &Path, removed: io::Result<()>) {
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "could not remove");
    }
}

fn lock_of(folder: &Path) -> PathBuf {
    folder.with_extension(LOCK)
}

/// Removes the folders of workers that have died.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|extension| extension == LOCK) && is_free(&path) {
            let folder = path.with_extension("");
            tracing::info!(folder = %folder.display(), "removing what a dead worker has left");
            forget(&folder);
        }
    }
}

/// Whether nobody holds this lock.
fn is_free(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_dead_worker_goes_and_that_of_a_living_one_stays() {
        let root = tempfile::tempdir().unwrap();
        let [dead, alive, own] = ["dead", "alive", "own"].map(|name| root.path().join(name));
        for folder in [&dead, &alive] {
            fs::create_dir_all(folder.join("inputs")).unwrap();
        }
        // Its process has ended, and the lock with it.
        fs::write(lock_of(&dead), "").unwrap();
        let held = Held::take(&alive).unwrap();
        assert!(!dead.exists() && !lock_of(&dead).exists());

        let other = Held::take(&own).unwrap();
        assert!(alive.join("inputs").exists(), "its worker lives");
        drop(other);
        assert!(!lock_of(&own).exists());
        drop(held);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
