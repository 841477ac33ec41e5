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
    match local.with_access(|access| pipeline::groups(access.storage, &args.model))? {
        Ok(groups) if args.json => outln!("{groups}"),
        Ok(groups) if groups.as_array().is_some_and(Vec::is_empty) => outln!("{NONE}"),
        Ok(groups) => out!("{}", text(&groups)),
        Err(failure) => return Ok(failed(&failure, args.json)),
    }
    Ok(ExitCode::SUCCESS)
}

const NONE: &str =
    "no groups: no axis may be permuted, or no builder knows the network (retune networks)";

fn member(m: &Value) -> String {
    let (tensor, repeat) = (m["tensor"].as_str().unwrap_or("?"), m["repeat"].as_u64());
    let times = repeat
        .filter(|r| *r != 1)
        .map(|r| format!(" ×{r}"))
        .unwrap_or_default();
    format!("{tensor} ({}{times})", m["axis"])
}

fn text(groups: &Value) -> String {
    let mut rows = Vec::new();
    for group in groups.as_array().into_iter().flatten() {
        let members = group["members"]
            .as_array()
            .into_iter()
            .flatten()
            .map(member);
        // Of experts that change places with the group's units.
        let whole = group["experts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_array);
        let whole = whole.flatten().filter_map(Value::as_str);
        let members = members.chain(whole.map(|tensor| format!("{tensor} (whole)")));
        // A stream has a hundred members: one a line, beside the group's name only once.
        let name = group["name"].as_str().unwrap_or("?");
        for (i, member) in members.enumerate() {
            let name = if i == 0 {
                name.to_owned()
            } else {
                String::new()
            };
            let units = if i == 0 {
                group["units"].to_string()
            } else {
                String::new()
            };
            rows.push(vec![member, units, name]);
        }
    }

    rows.insert(
        0,
        vec![
            "tensor (axis ×repeat)".into(),
            "units".into(),
            "group".into(),
        ],
    );
    columns(&rows)
}
