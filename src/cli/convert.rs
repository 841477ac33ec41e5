//! `retune convert`: a file of `torch.save` as safetensors.
//!
//! A model in several files is read whole, by the index that lists them or by any of them beside it. An
//! adapter's file stays one, with its own configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

use crate::{
    artifacts::{pytorch, tensors},
    contract::manifest::files,
    engine::tensors::Checkpoint,
};

/// The configuration that belongs to a file, and what the file becomes.
struct Form {
    config: &'static str,
    weights: &'static str,
}

const MODEL: Form = Form {
    config: files::CONFIG,
    weights: files::WEIGHTS,
};
const ADAPTER: Form = Form {
    config: files::ADAPTER_CONFIG,
    weights: files::ADAPTER_WEIGHTS,
};
const INDEX_END: &str = ".bin.index.json";

/// Turn what `torch.save` has written (.pt, .bin) into a model folder; nothing in it is executed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What torch.save has written: a state dict, a checkpoint with one in it, an adapter, or the index of a
    /// model in several files.
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
    let name = args
        .file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let form = if name.starts_with(files::ADAPTER_STEM) {
        &ADAPTER
    } else {
        &MODEL
    };

    let model = args.folder.join(form.weights);
    if model.exists() {
        bail!("{} is there already; nothing was changed", model.display());
    }

    let checkpoint = read(&args.file, args.key.as_deref())?;
    fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    // Under its name only when whole.
    let part = args.folder.join(format!("{}.part", form.weights));
    write(&checkpoint, &part)
        .and_then(|()| fs::rename(&part, &model))
        .with_context(|| model.display().to_string())?;

    let values: usize = checkpoint.iter().map(|(_, tensor)| tensor.len()).sum();
    let is_configured = configured(&args.file, &args.folder, form)?;
    if args.json {
        let (tensors, configuration) = (checkpoint.len(), is_configured.then_some(form.config));
        let path = model.display().to_string();
        outln!(
            "{}",
            json!({"model": path, "tensors": tensors, "values": values, "config": configuration})
        );
    } else {
        outln!(
            "{}: {} tensors, {values} values",
            model.display(),
            checkpoint.len()
        );
    }

    if !is_configured {
        tellln!(
            "no {} stands beside {}; write {} before you use the model",
            form.config,
            args.file.display(),
            args.folder.join(form.config).display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The tensors of a file, or of all files of which it is one.
fn read(file: &Path, key: Option<&str>) -> anyhow::Result<Checkpoint> {
    let Some(index) = index_of(file)? else {
        return pytorch::read(file, key).with_context(|| file.display().to_string());
    };
    let mut checkpoint = Checkpoint::default();

    for (shard, promised) in shards_of(&index)? {
        let place = index.with_file_name(&shard);
        let part = pytorch::read(&place, key).with_context(|| place.display().to_string())?;
        if let Some(name) = promised.iter().find(|name| part.get(name).is_none()) {
            bail!(
                "{}: {name:?} is missing, which {} promises",
                place.display(),
                index.display()
            );
        }
        for (name, tensor) in part.iter() {
            checkpoint.insert(name, tensor.clone());
        }
    }

    Ok(checkpoint)
}

/// The index of a model in several files: the file itself, or the one beside a part of them.
fn index_of(file: &Path) -> anyhow::Result<Option<PathBuf>> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if name.ends_with(INDEX_END) {
        return Ok(Some(file.to_owned()));
    }

    let numbered = name
        .strip_suffix(".bin")
        .and_then(|stem| stem.split_once("-of-"));
    let stem = numbered.and_then(|(first, _)| first.rsplit_once('-'));
    let Some((stem, _)) = stem.filter(|(_, number)| number.bytes().all(|b| b.is_ascii_digit()))
    else {
        return Ok(None);
    };

    let index = file.with_file_name(format!("{stem}{INDEX_END}"));
    if !index.exists() {
        bail!(
            "{} is a part of a model; {} is missing, which lists them",
            file.display(),
            index.display()
        );
    }

    Ok(Some(index))
}

/// The files of an index, with the tensors that it promises in each.
fn shards_of(index: &Path) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let bytes = fs::read(index).with_context(|| index.display().to_string())?;
    let Index { weight_map } =
        serde_json::from_slice(&bytes).with_context(|| index.display().to_string())?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();

    for (tensor, shard) in weight_map {
        let is_plain = Path::new(&shard)
            .file_name()
            .is_some_and(|name| name == shard.as_str());
        if !is_plain {
            bail!(
                "{}: {shard:?} must be the plain name of a file beside it",
                index.display()
            );
        }
        shards.entry(shard).or_default().insert(tensor);
    }

    if shards.is_empty() {
        bail!("{}: weight_map names no file", index.display());
    }

    Ok(shards)
}

/// Whether the folder has a configuration, perhaps the one beside the file.
fn configured(file: &Path, folder: &Path, form: &Form) -> anyhow::Result<bool> {
    let (beside, own) = (file.with_file_name(form.config), folder.join(form.config));
    if own.exists() {
        return Ok(true);
    }
    if !beside.exists() {
        return Ok(false);
    }

    fs::copy(&beside, &own).with_context(|| beside.display().to_string())?;
    Ok(true)
}

fn write(checkpoint: &Checkpoint, path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    tensors::to_pieces(checkpoint)
        .pieces
        .try_for_each(|piece| file.write_all(&piece))?;
    file.sync_all()
}
