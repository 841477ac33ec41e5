//! Which layers have a window, and which rotary positions.

use serde_json::Value;

use super::{
    Source,
    dialect::{Dialect, Pattern, WINDOW},
};
use crate::network::{error::GraphError, families::rope::Speeds, op::Rotary};

/// What differs between the layers of one decoder.
pub(super) struct LayerKind {
    pub window: Option<usize>,
    pub rotary: Option<Rotary>,
}

/// The kind of every layer.
pub(super) fn kinds(
    source: &Source<'_>,
    dialect: &Dialect,
    depth: usize,
) -> Result<Vec<LayerKind>, GraphError> {
    let speeds = Speeds::read(source, dialect.rotary, dialect.head_size(source)?)?;
    let with_rotary = with_rotary(source, dialect, depth)?;
    let local = local_layers(source, dialect, &with_rotary)?;
    let window = window(source, dialect)?;
    if window.is_none()
        && local.contains(&true)
        && !matches!(
            dialect.windows,
            Pattern::Every { .. } | Pattern::EveryIfUsed { .. }
        )
    {
        let detail = "sliding_window: is null, but layers have a window";
        return Err(malformed(detail));
    }

    let layers = local.iter().zip(with_rotary);
    Ok(layers
        .map(|(is_local, has_rotary)| LayerKind {
            window: window.filter(|_| *is_local),
            rotary: has_rotary.then(|| speeds.of(*is_local).clone()),
        })
        .collect())
}

fn malformed(detail: impl Into<String>) -> GraphError {
    GraphError::Malformed {
        detail: detail.into(),
    }
}

fn window(source: &Source<'_>, dialect: &Dialect) -> Result<Option<usize>, GraphError> {
    let default = match dialect.windows {
        Pattern::None => return Ok(None),
        Pattern::Every { default } => default,
        Pattern::WithoutRotary => None,
        Pattern::Upper => Some(WINDOW),
        Pattern::EveryIfUsed { default } | Pattern::AllButEvery { default, .. } => Some(default),
    };
    match source.config.get("sliding_window") {
        Some(Value::Null) => Ok(None),
        Some(_) => source.count("sliding_window").map(Some),
        None => Ok(default),
    }
}

/// Which layers have a window.
fn local_layers(
    source: &Source<'_>,
    dialect: &Dialect,
    with_rotary: &[bool],
) -> Result<Vec<bool>, GraphError> {
    let depth = with_rotary.len();
    let is_used = source.config["use_sliding_window"].as_bool() == Some(true);
    let has_window = window(source, dialect)?.is_some();
    let of_pattern = match dialect.windows {
        Pattern::None => return Ok(vec![false; depth]),
        Pattern::Every { .. } => return Ok(vec![true; depth]),
        Pattern::EveryIfUsed { .. } => return Ok(vec![is_used; depth]),
        Pattern::Upper => {
            let first = match source.config.get("max_window_layers") {
                None => 28,
                Some(_) => whole_number(source, "max_window_layers")?,
            };
            (0..depth)
                .map(|layer| is_used && has_window && layer >= first)
                .collect()
        }
        Pattern::WithoutRotary => with_rotary
            .iter()
            .map(|has_rotary| is_used && has_window && !has_rotary)
            .collect(),
        Pattern::AllButEvery { count, key, .. } => {
            let count = match key.filter(|key| !source.config[*key].is_null()) {
                Some(key) => source.count(key)?,
                None => count,
            };
            (1..=depth)
                .map(|layer| !layer.is_multiple_of(count))
                .collect()
        }
    };

    let Some(types) = source.config["layer_types"].as_array() else {
        return Ok(of_pattern);
    };
    let needs_a_switch = matches!(dialect.windows, Pattern::Upper | Pattern::WithoutRotary);
    let mut local = Vec::with_capacity(depth);
    for kind in types {
        local.push(match kind.as_str() {
            Some("full_attention") => false,
            Some("sliding_attention") if is_used || !needs_a_switch => true,
            _ => {
                let detail = format!("layer_types: {kind} is not supported with these settings");
                return Err(malformed(detail));
            }
        });
    }
    if local.len() != depth {
        let detail = format!(
            "layer_types: has {} entries for {depth} layers",
            local.len()
        );
        return Err(malformed(detail));
    }
    Ok(local)
}

/// Which layers have rotary positions: all but those with a 0 among `no_rope_layers`, or each
/// `no_rope_layer_interval`-th (`SmolLM3`).
fn with_rotary(
    source: &Source<'_>,
    dialect: &Dialect,
    depth: usize,
) -> Result<Vec<bool>, GraphError> {
    if !matches!(dialect.windows, Pattern::WithoutRotary) {
        return Ok(vec![true; depth]);
    }
    let told = &source.config["no_rope_layers"];
    if told.is_null() {
        let interval = match source.config.get("no_rope_layer_interval") {
            None => 4,
            Some(_) => source.count("no_rope_layer_interval")?,
        };
        return Ok((1..=depth)
            .map(|layer| !layer.is_multiple_of(interval))
            .collect());
    }

    let entries = told.as_array().map(Vec::as_slice).unwrap_or_default();
    let found: Option<Vec<bool>> = entries
        .iter()
        .map(|entry| Some(entry.as_u64()? != 0))
        .collect();
    found.filter(|found| found.len() == depth).ok_or_else(|| {
        malformed(format!(
            "no_rope_layers: give a number for each of {depth} layers, not {told}"
        ))
    })
}

fn whole_number(source: &Source<'_>, key: &str) -> Result<usize, GraphError> {
    let value = &source.config[key];
    let number = value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| malformed(format!("{key}: give a whole number, not {value}")))
}
