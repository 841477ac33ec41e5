//! As whom the server runs: ourselves, or an unprivileged user where we are root.

use std::{
    fs::{self, DirBuilder, Metadata, Permissions},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use nix::unistd::{User, geteuid};

use super::error::{ClusterError, at};

#[derive(Debug)]
pub struct Account {
    uid: u32,
    /// Group and name, where the server runs as another user than this process.
    other: Option<(u32, String)>,
}

impl Account {
    /// The server's account on this system.
    pub fn of_server() -> Result<Self, ClusterError> {
        if !geteuid().is_root() {
            return Ok(Self {
                uid: geteuid().as_raw(),
                other: None,
            });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self {
                uid: user.uid.as_raw(),
                other: Some((user.gid.as_raw(), user.name)),
            })
            .ok_or(ClusterError::NoAccount)
    }

    /// Makes a command run as this account.
    pub fn apply(&self, command: &mut Command) {
        if let Some((gid, _)) = &self.other {
            command.uid(self.uid).gid(*gid);
        }
    }

    pub fn owns(&self, folder: &Metadata) -> bool {
        folder.uid() == self.uid
    }

    /// Makes a folder and its parents where they are missing; what we make for another user's
    /// server lets it pass through.
    pub fn create_searchable(&self, folder: &Path) -> Result<(), ClusterError> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            self.create_searchable(parent)?;
        }
        fs::create_dir(folder).map_err(|error| at(folder, error))?;
        let mode = if self.other.is_some() { 0o755 } else { 0o700 };

        // Explicitly: the process's umask may have taken the search permission away.
        fs::set_permissions(folder, Permissions::from_mode(mode)).map_err(|error| at(folder, error))
    }

    /// Makes a folder that belongs to the account and is closed to others, where it is missing.
    pub fn create_private(&self, folder: &Path) -> Result<(), ClusterError> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(at(folder, error)),
        }
        if let Some((gid, _)) = &self.other {
            chown(folder, Some(self.uid), Some(*gid)).map_err(|error| at(folder, error))?;
        }
        Ok(())
    }

    /// Whether the account can pass every folder on the way to `folder`.
    pub fn check_searchable(&self, folder: &Path) -> Result<(), ClusterError> {
        let Some((gid, name)) = &self.other else {
            return Ok(());
        };

        for parent in folder.ancestors() {
            let found = fs::metadata(parent).map_err(|error| at(parent, error))?;
            if !may_search(found.mode(), found.uid() == self.uid, found.gid() == *gid) {
                let folder = parent.to_owned();
                return Err(ClusterError::NotSearchable {
                    folder,
                    user: name.clone(),
                });
            }
        }

        Ok(())
    }
}

/// The `x` bit that applies to an owner, a member of the group or anyone else.
fn may_search(mode: u32, owner: bool, member: bool) -> bool {
    let bit = match (owner, member) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_that_applies_decides() {
        assert!(may_search(0o700, true, false));
        assert!(!may_search(0o700, false, true));
        assert!(may_search(0o710, false, true));
        assert!(!may_search(0o710, false, false));
        assert!(may_search(0o751, false, false));
        // The owner's own bits hold even where others may do more.
        assert!(!may_search(0o055, true, true));
    }
}
