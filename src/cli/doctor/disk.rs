//! Whether the folders of the installation can be written and have room.

use std::path::{Path, PathBuf};

use nix::{
    sys::statvfs::{Statvfs, statvfs},
    unistd::{AccessFlags, access},
};

use super::finding::Finding;
use crate::config::Settings;

/// Below this, a folder is as good as full.
const LEAST_BYTES: u64 = 1 << 30;
/// Below this, it will be full before long.
const FEW_BYTES: u64 = 10 << 30;

pub fn look(settings: &Settings) -> Vec<Finding> {
    let folders = [
        ("state", Some(settings.data_dir()), "--data-dir or data_dir"),
        (
            "scratch",
            Some(settings.scratch_dir()),
            "worker.scratch_dir",
        ),
        ("cache", settings.cache_dir(), "worker.cache_dir"),
    ];
    let there = folders
        .into_iter()
        .filter_map(|(name, path, key)| Some((name, path?, key)));
    there
        .map(|(name, path, key)| of_folder(name, &path, key))
        .collect()
}

fn of_folder(name: &str, path: &Path, key: &str) -> Finding {
    let subject = format!("disk for {name}");
    let place = existing(path);
    if access(&place, AccessFlags::W_OK).is_err() {
        let found = format!("{} cannot be written by this user", place.display());
        return Finding::trouble(
            subject,
            found,
            format!("give the user that folder, or set {key}"),
        );
    }

    match statvfs(&place) {
        Ok(stat) => room(subject, &place, free_bytes(&stat), key),
        Err(error) => {
            let found = format!("{} cannot be looked at: {error}", place.display());
            Finding::trouble(
                subject,
                found,
                format!("set {key} to a folder that is there"),
            )
        }
    }
}

/// The types of the two differ from system to system.
fn free_bytes(stat: &Statvfs) -> u64 {
    (stat.blocks_available() as f64 * stat.fragment_size() as f64) as u64
}

fn room(subject: String, place: &Path, free: u64, key: &str) -> Finding {
    let found = format!(
        "{:.1} GiB are free in {}",
        free as f64 / f64::from(1 << 30),
        place.display()
    );
    let mend = format!("make room, or set {key} to a larger disk");

    match free {
        0..LEAST_BYTES => Finding::trouble(subject, found, mend),
        LEAST_BYTES..FEW_BYTES => Finding::warning(subject, found, mend),
        _ => Finding::ok(subject, found),
    }
}

/// The folder, or the one above it that is there: it is made when it is needed.
fn existing(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|place| place.is_dir());
    there.map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::State;

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
    }

    #[test]
    fn little_room_is_a_warning_and_none_is_trouble() {
        let state = |free| room("disk".into(), Path::new("/x"), free, "k").state;
        assert_eq!(state(LEAST_BYTES - 1), State::Trouble);
        assert_eq!(state(LEAST_BYTES), State::Warning);
        assert_eq!(state(FEW_BYTES), State::Ok);
    }
}
