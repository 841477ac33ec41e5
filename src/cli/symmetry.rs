//! `retune symmetry`: the permutation groups of a model.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    local::{Local, failed},
    table::columns,
};
use crate::{config::Settings, pipeline};

/// Print the permutation groups of a model.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A model folder, as URI or path.
    #[arg(value_name = "MODEL_URI")]
    model: String,
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When no scratch folder can be made.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let local = Local::open(settings)?;
    match local.with_access(|access| pipeline::groups(access, &args.model))? {
        Ok(groups) if args.json => println!("{groups}"),
        Ok(groups) => print!("{}", text(&groups)),
        Err(failure) => return Ok(failed(&failure, args.json)),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(groups: &Value) -> String {
    let mut rows = vec![vec!["group".into(), "units".into(), "tensors (axis ×repeat)".into()]];
    for group in groups.as_array().into_iter().flatten() {
        let member = |m: &Value| {
            let (tensor, repeat) = (m["tensor"].as_str().unwrap_or("?"), m["repeat"].as_u64());
            let times = repeat.filter(|r| *r != 1).map(|r| format!(" ×{r}")).unwrap_or_default();
            format!("{tensor} ({}{times})", m["axis"])
        };
        let members = group["members"].as_array().into_iter().flatten().map(member);
        rows.push(vec![
            group["name"].as_str().unwrap_or("?").to_owned(),
            group["units"].to_string(),
            members.collect::<Vec<_>>().join(", "),
        ]);
    }
    columns(&rows)
}
