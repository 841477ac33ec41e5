//! `retune download`: brings a result into a folder of this machine.
//!
//! Every file is checked against the manifest. What is there already is not asked for again, and a file that broke
//! off goes on where it did. The manifest comes last, as where it was written.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::{bar::Bar, client::Client, id_prefix::IdPrefix, remote::Remote};
use crate::{
    contract::manifest::{Listing, OutputFile, files},
    storage::sha256_of_file,
};

/// Download the result of a transfer, each file checked against the manifest.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id, or at least its first eight digits.
    id: IdPrefix,
    /// The folder to write; by default one that is called like the transfer.
    dir: Option<PathBuf>,
    /// Only this file of the result; may be given repeatedly.
    #[arg(long = "file", value_name = "NAME")]
    files: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service, a file that is not what the manifest says, a folder that cannot be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.remote.client()?;
    let id = args.id.resolve(&client, "transfers").await?.to_string();
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(&id));
    let manifest = client.file(&id, files::MANIFEST, 0).await?.bytes().await?;
    let listing: Listing =
        serde_json::from_slice(&manifest).context("the manifest of the result cannot be read")?;
    let wanted = choose(listing.outputs, &args.files)?;

    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let bar = Bar::open();
    for file in &wanted {
        if let Some(bar) = &bar {
            bar.say(file.name.clone());
        }
        fetch(&client, &id, &dir, file, bar.as_ref()).await?;
    }

    if args.files.is_empty() {
        let place = dir.join(files::MANIFEST);
        fs::write(&place, &manifest).with_context(|| place.display().to_string())?;
    }
    if let Some(bar) = bar {
        bar.clear();
    }

    let place = dir.display().to_string();
    args.remote
        .show_line(&json!({"id": id, "folder": place, "files": wanted}), &place)
}

/// All files, or those of these names.
fn choose(files: Vec<OutputFile>, names: &[String]) -> anyhow::Result<Vec<OutputFile>> {
    for name in names {
        ensure!(
            files.iter().any(|file| file.name == *name),
            "the result has no file {name}"
        );
    }
    Ok(files
        .into_iter()
        .filter(|file| names.is_empty() || names.contains(&file.name))
        .collect())
}

/// The place of a file below the folder. A manifest is read from elsewhere: a name that leaves the folder is refused.
fn place_of(dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    ensure!(
        name.split('/').all(is_plain),
        "the manifest names a file {name:?}, which is no plain name"
    );
    Ok(dir.join(name))
}

fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains('\\')
}

async fn fetch(
    client: &Client,
    id: &str,
    dir: &Path,
    file: &OutputFile,
    bar: Option<&Bar>,
) -> anyhow::Result<()> {
    let place = place_of(dir, &file.name)?;
    if is_whole(&place, file) {
        return Ok(());
    }

    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }

    let part = dir.join(format!("{}.part", file.name));
    let mut there = fs::metadata(&part).map_or(0, |found| found.len());
    if there > file.size {
        there = 0;
    }

    if there < file.size || file.size == 0 {
        let mut target = open_part(&part, there)?;
        let mut response = client.file(id, &file.name, there).await?;
        while let Some(bytes) = response.chunk().await.context("the download broke off")? {
            target
                .write_all(&bytes)
                .with_context(|| part.display().to_string())?;
            there += bytes.len() as u64;
            if let Some(bar) = bar {
                bar.count(there, file.size);
            }
        }
    }

    if !is_whole(&part, file) {
        fs::remove_file(&part).with_context(|| part.display().to_string())?;
        bail!(
            "{} is not what the manifest says; it was removed: try again",
            file.name
        );
    }
    fs::rename(&part, &place).with_context(|| place.display().to_string())
}

fn open_part(part: &Path, there: u64) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    if there == 0 {
        options.truncate(true).write(true)
    } else {
        options.append(true)
    };

    options
        .create(true)
        .open(part)
        .with_context(|| part.display().to_string())
}

/// Whether a file is there and is what the manifest says.
fn is_whole(path: &Path, file: &OutputFile) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == file.size)
        && sha256_of_file(path).is_ok_and(|digest| digest == file.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_manifest_leaves_the_folder() {
        let dir = Path::new("/d");
        assert_eq!(
            place_of(dir, "adapter/a.json").unwrap(),
            Path::new("/d/adapter/a.json")
        );
        for bad in ["../a", "/a", "a/../../b", "", "a//b", "..\\a"] {
            assert!(place_of(dir, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_are_chosen_by_name_and_an_unknown_one_is_refused() {
        let file = |name: &str| OutputFile {
            name: name.into(),
            size: 0,
            sha256: String::new(),
        };
        let all = vec![file("a"), file("b")];
        assert_eq!(choose(all.clone(), &[]).unwrap().len(), 2);
        assert_eq!(choose(all.clone(), &["b".into()]).unwrap(), [file("b")]);
        assert!(choose(all, &["c".into()]).is_err());
    }
}
