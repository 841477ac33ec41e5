//! Files go into a repository of a hub by one commit: all of them, or none.

use anyhow::{Context, bail, ensure};

use super::{Push, Pushed, Wanted};
use crate::{
    cli::bar::Bar,
    storage::{HubCommit, HubFile, Location, Sha256Hex, StorageError, sha256_of_file},
};

const MESSAGE: &str = "Pushed by retune";

/// Hexadecimal digits of a SHA-256; a mark of that length is a large file's own.
const SHA256_DIGITS: usize = 64;

impl Push<'_> {
    /// The folder at the commit, and the files in it.
    pub(super) fn to_hub(
        &self,
        files: &[Wanted],
        bar: Option<&Bar>,
    ) -> anyhow::Result<(String, Vec<Pushed>)> {
        let parent = self.storage.pin(&self.folder)?;
        ensure!(
            parent != self.folder,
            "{} is on no branch of a repository: write hf://organisation/name, or hf://organisation/name@branch",
            self.folder
        );
        let mut pushed = Vec::with_capacity(files.len());
        for file in files {
            if let Some(bar) = bar {
                bar.say(file.name.clone());
            }
            pushed.push(self.looked_at(file, &parent)?);
        }

        let missing: Vec<HubFile<'_>> = files
            .iter()
            .zip(&pushed)
            .filter(|(_, there)| !there.present)
            .map(|(file, there)| HubFile {
                name: &file.name,
                path: &file.path,
                size: there.size,
                sha256: there.sha256.clone(),
            })
            .collect();
        let at = if missing.is_empty() {
            parent
        } else {
            self.commit(&parent, &missing, bar)?
        };
        if self.verify {
            for file in &pushed {
                self.check(&at, file)?;
            }
        }
        Ok((format!("{at}/"), pushed))
    }

    fn commit(
        &self,
        parent: &Location,
        missing: &[HubFile<'_>],
        bar: Option<&Bar>,
    ) -> anyhow::Result<Location> {
        if let Some(bar) = bar {
            bar.say(format!("{} files", missing.len()));
        }
        let commit = HubCommit {
            folder: &self.folder,
            parent,
            message: MESSAGE,
            files: missing,
        };
        match self.storage.commit_to_hub(&commit) {
            Err(StorageError::Changed { .. }) => bail!(
                "{} has got another commit meanwhile; nothing was written: push again",
                self.folder
            ),
            made => Ok(made?),
        }
    }

    /// A file of this machine, and whether the folder has it already.
    fn looked_at(&self, file: &Wanted, parent: &Location) -> anyhow::Result<Pushed> {
        let own = sha256_of_file(&file.path).with_context(|| file.path.display().to_string())?;
        let place = parent.join(&file.name)?;
        let there = self.sha256_at(&place)?;
        ensure!(
            there.as_ref().is_none_or(|there| *there == own),
            "{place} is there and is another file; nothing is ever replaced: push to a new folder, or to a new branch"
        );
        Ok(Pushed {
            name: file.name.clone(),
            size: file.size,
            sha256: own,
            present: there.is_some(),
        })
    }

    /// The digest of what lies there. Of a large file the hub tells it.
    fn sha256_at(&self, place: &Location) -> Result<Option<Sha256Hex>, StorageError> {
        if !self.storage.exists(place)? {
            return Ok(None);
        }
        let mark = self.storage.head(place)?.etag.unwrap_or_default();
        if mark.len() == SHA256_DIGITS {
            return Ok(Some(mark));
        }
        Ok(Some(self.storage.digest(place)?.sha256))
    }

    fn check(&self, at: &Location, file: &Pushed) -> anyhow::Result<()> {
        let place = at.join(&file.name)?;
        let there = self.storage.digest(&place)?;
        ensure!(
            (there.size, &there.sha256) == (file.size, &file.sha256),
            "{place} reads back as another file"
        );
        Ok(())
    }
}
