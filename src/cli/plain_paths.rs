//! Plain paths in a specification that is submitted: they become locations of this machine, and where the service
//! may not read there, the way to bring the files to it is told.

use std::path::Path;

use serde_json::Value;

use super::client::{Client, Fault, Refused};

/// The fields of a specification that are locations.
const LOCATIONS: [&str; 7] = [
    "/source/base",
    "/source/trajectory",
    "/target/base",
    "/data/train",
    "/data/validation",
    "/data/test",
    "/output",
];

/// A location that was given as a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPath {
    pointer: &'static str,
    /// As it was given.
    given: String,
}

/// Turns plain paths into `file://` locations; which they were. A relative path is one from the working directory.
pub fn resolve(spec: &mut Value) -> Vec<PlainPath> {
    let mut found = Vec::new();
    for pointer in LOCATIONS {
        let Some(slot) = spec.pointer_mut(pointer) else {
            continue;
        };
        let Some(given) = slot.as_str().filter(|text| is_path(text)) else {
            continue;
        };
        let given = given.to_owned();
        if let Some(location) = location_of(&given) {
            *slot = location.into();
            found.push(PlainPath { pointer, given });
        }
    }
    found
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains("://")
}

fn location_of(path: &str) -> Option<String> {
    let absolute = std::path::absolute(path).ok()?;
    // Links are followed, as the service would; what is not there yet stays as it is written.
    let absolute = absolute.canonicalize().unwrap_or(absolute);
    let slash = if path.ends_with('/') || absolute.is_dir() {
        "/"
    } else {
        ""
    };

    Some(format!(
        "file://{}{slash}",
        absolute.to_str()?.trim_end_matches('/')
    ))
}

/// The refusal of a submission with plain paths, with the command that brings each refused one to the service.
pub async fn explain(client: &Client, error: anyhow::Error, paths: &[PlainPath]) -> anyhow::Error {
    let faults = match error.downcast_ref::<Refused>() {
        Some(refused) if refused.problem.code == "location_not_allowed" => &refused.problem.errors,
        _ => return error,
    };
    let refused: Vec<_> = paths
        .iter()
        .filter(|path| faults.iter().any(|fault| path.is_at(fault)))
        .collect();
    if refused.is_empty() {
        return error;
    }

    let root = root_of(client).await;
    let ways: Vec<_> = refused
        .iter()
        .map(|path| path.way_out(root.as_deref()))
        .collect();

    anyhow::anyhow!(
        "{error}\nbring what lies elsewhere to where the service reads:\n{}",
        ways.join("\n")
    )
}

/// A place of the service that can be written from here, if it tells one: a bucket before a folder of its machine.
async fn root_of(client: &Client) -> Option<String> {
    let me = client.read(&["me"], &[]).await.ok()?;
    let roots: Vec<&str> = me["roots"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let remote = roots.iter().find(|root| !root.starts_with("file://"));
    remote
        .or(roots.first())
        .map(|root| format!("{}/", root.trim_end_matches('/')))
}

impl PlainPath {
    fn is_at(&self, fault: &Fault) -> bool {
        self.pointer == fault.pointer
    }

    fn way_out(&self, root: Option<&str>) -> String {
        let Self { pointer, given } = self;
        let root = root.unwrap_or("s3://BUCKET/");
        if *pointer == "/output" {
            return format!("  {pointer}: write a folder of the service, as {root}results/");
        }

        let path = Path::new(given);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("model");
        let slash = if path.is_file() { "" } else { "/" };

        format!(
            "  retune push {} {root}{name}{slash}   then {pointer} is {root}{name}{slash}",
            quoted(given)
        )
    }
}

/// As a shell takes it.
fn quoted(path: &str) -> String {
    if path.chars().all(is_plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_become_locations_and_locations_stay() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let mut spec = json!({
            "source": {"base": real.to_str().unwrap(), "trajectory": "s3://b/t/"},
            "target": {"base": real.join("missing").to_str().unwrap()}, "output": "file:///out/",
        });
        let found = resolve(&mut spec);
        assert_eq!(
            found.iter().map(|path| path.pointer).collect::<Vec<_>>(),
            ["/source/base", "/target/base"]
        );
        assert_eq!(
            spec["source"]["base"],
            json!(format!("file://{}/", real.display()))
        );
        assert_eq!(
            spec["target"]["base"],
            json!(format!("file://{}/missing", real.display()))
        );
        assert_eq!(
            (&spec["source"]["trajectory"], &spec["output"]),
            (&json!("s3://b/t/"), &json!("file:///out/"))
        );
    }

    #[test]
    fn the_way_out_is_a_command_that_a_shell_takes() {
        let path = PlainPath {
            pointer: "/target/base",
            given: "my models/new".into(),
        };
        let said = path.way_out(Some("s3://models/"));
        assert!(
            said.contains("retune push 'my models/new' s3://models/new/"),
            "{said}"
        );
        let output = PlainPath {
            pointer: "/output",
            given: "out".into(),
        };
        assert!(output.way_out(None).contains("s3://BUCKET/results/"));
    }
}
