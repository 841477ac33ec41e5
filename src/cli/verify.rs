//! `retune verify`: a result against its signature.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::json;

use super::local::Local;
use crate::{
    artifacts::signature::{FileFault, PublicKey, VerifyError, verify},
    config::Settings,
};

/// Check that a model is what somebody signed: exit 0 when each file is, 1 when one is not or the signature is
/// another key's.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A result, or another model folder with a `model.sig` of model-signing's, as URI or path.
    #[arg(value_name = "FOLDER")]
    folder: String,
    /// The public key of who must have signed: EC P-256, as PEM.
    #[arg(long, value_name = "PUBLIC.pem")]
    key: PathBuf,
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A key that cannot be read, a folder that cannot be looked at.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let key = read_key(args)?;
    let local = Local::open(settings)?;
    let folder = local.storage.check_location(&args.folder)?;
    let (name, files, refusals) = match verify(local.storage.blocking(), &folder, &key) {
        Ok(found) => (Some(found.name), found.files, said(&found.faults)),
        Err(VerifyError::Storage(error)) => return Err(error.into()),
        Err(error) => (None, 0, vec![error.to_string()]),
    };

    let verified = refusals.is_empty();
    if args.json {
        let (key, faults) = (key.hint(), &refusals);
        outln!(
            "{}",
            json!({"verified": verified, "name": name, "files": files, "key": key, "faults": faults})
        );
    } else if verified {
        let name = name.unwrap_or_default();
        outln!(
            "verified: {name}, {} by the key {}",
            count(files),
            key.hint()
        );
    } else {
        refusals
            .iter()
            .for_each(|refusal| tellln!("retune: not verified: {refusal}"));
    }

    Ok(if verified {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read_key(args: &Args) -> anyhow::Result<PublicKey> {
    let place = args.key.display();
    let text = fs::read_to_string(&args.key).with_context(|| place.to_string())?;
    PublicKey::from_pem(&text).with_context(|| place.to_string())
}

fn said(faults: &[FileFault]) -> Vec<String> {
    faults
        .iter()
        .map(|fault| format!("{} {}", fault.file, fault.kind))
        .collect()
}

fn count(files: usize) -> String {
    if files == 1 {
        "1 file is signed".into()
    } else {
        format!("{files} files are signed")
    }
}
