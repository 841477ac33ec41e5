//! `retune convert`: a file of `torch.save` as safetensors.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::json;

use crate::artifacts::{pytorch, tensors};

const CONFIG: &str = "config.json";

/// Turn what `torch.save` has written (.pt, .bin) into a model folder; nothing in it is executed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What torch.save has written: a state dict, or a checkpoint with one in it.
    #[arg(value_name = "FILE.pt|FILE.bin")]
    file: PathBuf,
    /// The folder to write; a `config.json` that stands beside FILE is copied there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where in the file the state dict is, if not at the top nor under a usual name.
    #[arg(long)]
    key: Option<String>,
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When FILE cannot be read, or DIR holds a model already.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let model = args.folder.join("model.safetensors");
    if model.exists() {
        bail!("{} is there already; nothing was changed", model.display());
    }
    let checkpoint = pytorch::read(&args.file, args.key.as_deref())
        .with_context(|| args.file.display().to_string())?;
    fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    // Under its name only when whole.
    let part = args.folder.join("model.safetensors.part");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        for piece in tensors::to_pieces(&checkpoint).pieces {
            file.write_all(&piece)?;
        }
        file.sync_all()?;
        fs::rename(&part, &model)
    };
    write().with_context(|| model.display().to_string())?;
    let values: usize = checkpoint.iter().map(|(_, tensor)| tensor.len()).sum();
    let is_configured = configured(&args.file, &args.folder)?;
    if args.json {
        let (tensors, configuration) = (checkpoint.len(), is_configured.then_some(CONFIG));
        let path = model.display().to_string();
        outln!(
            "{}",
            json!({"model": path, "tensors": tensors, "values": values, "config": configuration})
        );
    } else {
        outln!("{}: {} tensors, {values} values", model.display(), checkpoint.len());
    }
    if !is_configured {
        tellln!(
            "no config.json stands beside {}; write {} before you use the model",
            args.file.display(),
            args.folder.join(CONFIG).display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the folder has a configuration, perhaps the one beside the file.
fn configured(file: &Path, folder: &Path) -> anyhow::Result<bool> {
    let (beside, own) = (file.with_file_name(CONFIG), folder.join(CONFIG));
    if own.exists() {
        return Ok(true);
    }
    if !beside.exists() {
        return Ok(false);
    }
    fs::copy(&beside, &own).with_context(|| beside.display().to_string())?;
    Ok(true)
}
