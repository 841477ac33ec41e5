//! `retune push`: brings a folder or a file of this machine to where the service reads.
//!
//! Weights go first and small documents last, so that whoever watches the place finds a whole model once it finds
//! a configuration. Each file is written aside and gets its name when it is whole. A file that is there already is
//! read through: the same is not sent again, another is never replaced. So a push that broke off is simply repeated.
//! Into a repository of a hub all files go by one commit ([`hub`]).

mod hub;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde_json::json;

use super::{bar::Bar, local::Local};
use crate::{
    config::Settings,
    storage::{Attempt, Blocking, Location, NewFile, Published, StorageError, sha256_of_file},
};

/// Most levels of folders within the folder; more is a mistake, or a circle of links.
const DEPTH_LIMIT: usize = 16;

/// Copy a folder or a file to a location that a service can read: `s3://`, `gs://`, `az://`, `hf://` or `file://`.
///
/// Repeat it after an interruption: what is there already is compared, and not sent again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder (a model, a trajectory) or a file (a data set) of this machine.
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// The folder to write; for a file, the folder where it ends with `/`, else the object.
    #[arg(value_name = "URI")]
    to: String,
    /// Read every file back after it was written, and compare.
    #[arg(long)]
    verify: bool,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

/// A file that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// Below the folder.
    name: String,
    path: PathBuf,
    size: u64,
}

/// A file that is there now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Pushed {
    name: String,
    size: u64,
    sha256: String,
    /// It was there before.
    present: bool,
}

/// Runs the command.
///
/// # Errors
/// Nothing to push, a location that cannot be written, or another file in the place of one of these.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    ensure!(
        args.to.contains("://"),
        "{} is no location: write s3://bucket/folder/",
        args.to
    );
    let local = Local::open(settings)?;
    let (to, files) = plan(&args.from, &args.to)?;
    let folder = local.storage.check_location(&to)?;
    let to_hub = folder.is_read_only();
    let push = Push {
        storage: local.storage.blocking(),
        folder,
        verify: args.verify,
    };

    let bar = Bar::open();
    let done = if to_hub {
        push.to_hub(&files, bar.as_ref())
    } else {
        let all = push.all(&files, bar.as_ref());
        all.map(|pushed| (to, pushed))
    };
    if let Some(bar) = bar {
        bar.clear();
    }

    let (to, pushed) = done?;
    if args.json {
        outln!("{}", json!({"uri": to, "files": pushed}));
        return Ok(ExitCode::SUCCESS);
    }

    let present = pushed.iter().filter(|file| file.present).count();
    let bytes: u64 = pushed.iter().map(|file| file.size).sum();
    tellln!(
        "{} files, {bytes} bytes; {present} were there already",
        pushed.len()
    );
    outln!("{to}");

    Ok(ExitCode::SUCCESS)
}

/// The folder to write, and the files that are to be there.
fn plan(from: &Path, to: &str) -> anyhow::Result<(String, Vec<Wanted>)> {
    let found = fs::metadata(from).with_context(|| from.display().to_string())?;
    if found.is_dir() {
        let mut files = Vec::new();
        walk(from, "", &mut files, 0)?;
        ensure!(!files.is_empty(), "{} has no file", from.display());
        // Weights first, documents last.
        files.sort_by_key(|file| (is_document(&file.name), file.name.clone()));
        return Ok((format!("{}/", to.trim_end_matches('/')), files));
    }

    let (folder, name) = if to.ends_with('/') {
        let name = from.file_name().and_then(|name| name.to_str());
        (
            to.to_owned(),
            name.context("the file's name is not UTF-8")?.to_owned(),
        )
    } else {
        let (folder, name) = to.rsplit_once('/').context("the location has no name")?;
        (format!("{folder}/"), name.to_owned())
    };

    ensure!(
        !name.is_empty() && !folder.ends_with("//"),
        "{to} names no object in a bucket's folder"
    );
    Ok((
        folder,
        vec![Wanted {
            name,
            path: from.to_owned(),
            size: found.len(),
        }],
    ))
}

/// Every file of a folder, however deep, but for hidden ones; links are followed.
fn walk(folder: &Path, within: &str, files: &mut Vec<Wanted>, depth: usize) -> anyhow::Result<()> {
    ensure!(
        depth < DEPTH_LIMIT,
        "{} has more than {DEPTH_LIMIT} levels",
        folder.display()
    );
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name else {
            bail!("{}: the name is not UTF-8", path.display())
        };
        if name.starts_with('.') {
            continue;
        }
        let found = fs::metadata(&path).with_context(|| path.display().to_string())?;
        if found.is_dir() {
            walk(&path, &format!("{within}{name}/"), files, depth + 1)?;
        } else {
            files.push(Wanted {
                name: format!("{within}{name}"),
                size: found.len(),
                path,
            });
        }
    }
    Ok(())
}

fn is_document(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "json")
}

struct Push<'a> {
    storage: Blocking<'a>,
    folder: Location,
    verify: bool,
}

impl Push<'_> {
    fn all(&self, files: &[Wanted], bar: Option<&Bar>) -> anyhow::Result<Vec<Pushed>> {
        let attempt = self.storage.begin_attempt(&self.folder)?;
        let total = files.iter().map(|file| file.size).sum();
        let (mut pushed, mut done) = (Vec::with_capacity(files.len()), 0);
        let sent = files.iter().try_for_each(|file| {
            if let Some(bar) = bar {
                bar.say(file.name.clone());
                bar.count(done, total);
            }
            pushed.push(self.one(&attempt, file)?);
            done += file.size;
            anyhow::Ok(())
        });

        // Also after a failure: what has its name stays.
        let cleared = self.storage.abandon(&attempt);

        sent?;
        cleared?;
        Ok(pushed)
    }

    fn one(&self, attempt: &Attempt, file: &Wanted) -> anyhow::Result<Pushed> {
        let place = self.folder.join(&file.name)?;
        if let Some(there) = self.present(&place)? {
            let own =
                sha256_of_file(&file.path).with_context(|| file.path.display().to_string())?;
            ensure!(
                there.sha256 == own,
                "{place} is there and is another file; nothing is ever replaced: push to a new folder"
            );
            return Ok(file.pushed(there, true));
        }

        let new = NewFile {
            attempt,
            name: &file.name,
        };
        let staged = self.storage.stage_file(new, &file.path, &|| true)?;
        let written = Published {
            size: staged.size,
            sha256: staged.sha256.clone(),
        };

        ensure!(
            written.size == file.size,
            "{} changed while it was read",
            file.path.display()
        );
        ensure!(
            self.storage.put_in_place(attempt, &staged)?,
            "{place} vanished before it had its name; push again"
        );

        let there = self.storage.head(&place)?.size;
        ensure!(
            there == written.size,
            "{place} has {there} bytes of {}",
            written.size
        );
        if self.verify {
            ensure!(
                self.storage.digest(&place)? == written,
                "{place} reads back as another file"
            );
        }
        Ok(file.pushed(written, false))
    }

    /// What is in the place of a file.
    fn present(&self, place: &Location) -> Result<Option<Published>, StorageError> {
        if self.storage.exists(place)? {
            self.storage.digest(place).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl Wanted {
    fn pushed(&self, there: Published, present: bool) -> Pushed {
        Pushed {
            name: self.name.clone(),
            size: there.size,
            sha256: there.sha256,
            present,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_pushed_weights_first_and_without_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("step-0/.cache")).unwrap();
        for name in [
            "config.json",
            "model.safetensors",
            ".lock",
            "step-0/a.txt",
            "step-0/.cache/b",
        ] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let (to, files) = plan(folder.path(), "s3://b/models/x").unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(to, "s3://b/models/x/");
        assert_eq!(names, ["model.safetensors", "step-0/a.txt", "config.json"]);
    }

    #[test]
    fn a_file_goes_into_a_folder_or_gets_the_name_that_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.parquet");
        fs::write(&path, "x").unwrap();
        let place = |to: &str| {
            let (folder, files) = plan(&path, to).unwrap();
            format!("{folder}{}", files[0].name)
        };
        assert_eq!(place("s3://b/data/"), "s3://b/data/train.parquet");
        assert_eq!(
            place("s3://b/data/other.parquet"),
            "s3://b/data/other.parquet"
        );
        assert!(plan(&path, "s3://b").is_err());
        assert!(plan(&folder.path().join("nothing"), "s3://b/x/").is_err());
    }
}
