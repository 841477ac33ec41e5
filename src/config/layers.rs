//! Puts the layers of the settings over each other, key by key.

use std::{collections::BTreeMap, path::Path};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{ConfigError, DEFAULT, secrets};

/// Shorter or customary names in the environment.
const ALIASES: [(&str, &str); 3] = [
    ("DATABASE_URL", "database.url"),
    ("RETUNE_PG_BIN", "database.pg_bin"),
    ("RETUNE_LISTEN", "http.listen"),
];

/// A file of settings that has been read.
#[derive(Clone, Copy)]
pub(super) struct SettingsFile<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

/// Defaults, then a file, then the environment.
pub(super) fn combine<T: DeserializeOwned>(
    file: Option<SettingsFile<'_>>,
    environment: &BTreeMap<String, String>,
) -> Result<T, ConfigError> {
    let mut table = parse("config/default.toml", DEFAULT)?;
    if let Some(SettingsFile { path, text }) = file {
        let origin = path.display().to_string();
        let given = parse(&origin, text)?;
        overlay(&mut table, given, "").map_err(|detail| ConfigError::Invalid { origin, detail })?;
    }
    apply_environment(&mut table, environment)?;
    Value::Table(table)
        .try_into()
        .map_err(|error| invalid("the configuration", &error))
}

fn parse(origin: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse()
        .map_err(|error: toml::de::Error| invalid(origin, &error))
}

fn invalid(origin: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Invalid {
        origin: origin.into(),
        detail: error.message().into(),
    }
}

/// Tables whose keys are names of the user's own.
const FREE: [&str; 3] = [
    "storage.credentials.",
    "storage.hub_tokens.",
    "storage.tenant_roots.",
];

/// Puts `given` over `table`; every key must be there already, but in [`FREE`].
fn overlay(table: &mut Table, given: Table, path: &str) -> Result<(), String> {
    for (key, value) in given {
        if FREE.contains(&path) {
            table.insert(key, value);
            continue;
        }
        let Some(present) = table.get_mut(&key) else {
            return Err(format!("unknown key {path}{key}"));
        };
        match (present, value) {
            (Value::Table(inner), Value::Table(value)) => {
                overlay(inner, value, &format!("{path}{key}."))?;
            }
            (present, value) => *present = value,
        }
    }
    Ok(())
}

fn apply_environment(
    table: &mut Table,
    environment: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (path, name) in leaves(table, "") {
        let alias = ALIASES
            .iter()
            .find(|(_, key)| *key == path)
            .map(|(alias, _)| *alias);
        for name in [Some(name.as_str()), alias].into_iter().flatten() {
            let said = secrets::look_up(name, |name| environment.get(name).cloned())?;
            let Some(text) = said else { continue };
            let Some(slot) = slot(table, &path) else {
                continue;
            };
            *slot = read(slot, &text).ok_or_else(|| ConfigError::Invalid {
                origin: name.to_owned(),
                detail: format!("{text:?} is not a {}", slot.type_str()),
            })?;
        }
    }
    Ok(())
}

/// Every key as `(section.key, RETUNE_SECTION_KEY)`.
fn leaves(table: &Table, prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        if let Value::Table(inner) = value {
            found.extend(leaves(inner, &format!("{path}.")));
        } else {
            let name = format!("RETUNE_{}", path.replace('.', "_").to_uppercase());
            found.push((path, name));
        }
    }
    found
}

fn slot<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Value> {
    let mut keys = path.split('.');
    let mut value = table.get_mut(keys.next()?)?;
    for key in keys {
        value = value.as_table_mut()?.get_mut(key)?;
    }
    Some(value)
}

/// A text as a value of the kind that `like` is.
fn read(like: &Value, text: &str) -> Option<Value> {
    Some(match like {
        Value::String(_) => Value::String(text.into()),
        Value::Boolean(_) => Value::Boolean(text.parse().ok()?),
        // Seconds may be written 10 or 0.5.
        Value::Integer(_) | Value::Float(_) => match text.parse() {
            Ok(whole) => Value::Integer(whole),
            Err(_) => Value::Float(text.parse().ok()?),
        },
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.into()))
                .collect(),
        ),
        Value::Datetime(_) | Value::Table(_) => return None,
    })
}
