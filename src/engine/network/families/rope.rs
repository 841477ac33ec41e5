//! What a configuration says of rotary positions: `rope_parameters` since transformers 5; `rope_theta`,
//! `rope_scaling` and keys of the family's own before.

mod scaling;

use serde_json::{Value, json};

use super::{Source, settings};
use crate::network::{error::GraphError, op::Rotary};
use scaling::Scaling;

/// How the configurations of a family tell rotary positions.
#[derive(Clone, Copy)]
pub(super) struct RotaryKeys {
    pub theta: NumberKey,
    /// The share of a head's channels that are turned, where the family reads it.
    pub partial: Option<NumberKey>,
    /// Layers with a window have frequencies of their own: the base of the wavelengths, in a
    /// configuration without `rope_parameters`.
    pub local_theta: Option<NumberKey>,
    /// Channel 2i is paired with 2i + 1.
    pub interleaved: bool,
    /// `original_max_position_embeddings` stands beside the object, with this default.
    pub original_length: Option<usize>,
}

/// A number beside the object, and what the library takes without it.
#[derive(Clone, Copy)]
pub(super) struct NumberKey {
    pub key: &'static str,
    pub default: f64,
}

impl NumberKey {
    fn read(self, source: &Source<'_>) -> Result<f64, GraphError> {
        source.number(self.key, self.default)
    }
}

impl RotaryKeys {
    /// Llama's.
    pub(super) const PLAIN: Self = Self {
        theta: NumberKey {
            key: "rope_theta",
            default: 10_000.0,
        },
        partial: None,
        local_theta: None,
        interleaved: false,
        original_length: None,
    };

    /// With another default of `rope_theta`.
    pub(super) const fn with_theta(default: f64) -> Self {
        Self {
            theta: NumberKey {
                key: "rope_theta",
                default,
            },
            ..Self::PLAIN
        }
    }
}

/// Rotary positions of the layers without a window, and of those with one.
pub(super) struct Speeds {
    global: Rotary,
    local: Rotary,
}

const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];

impl Speeds {
    /// Of layers with a window or without.
    pub(super) fn of(&self, is_local: bool) -> &Rotary {
        if is_local { &self.local } else { &self.global }
    }

    /// What the configuration says, of heads of `head_size` channels.
    pub(super) fn read(
        source: &Source<'_>,
        keys: RotaryKeys,
        head_size: usize,
    ) -> Result<Self, GraphError> {
        let Objects { global, local } = Objects::read(source, keys)?;
        let global = Reading {
            source,
            keys,
            object: &global,
        }
        .rotary(head_size)?;
        let local = match local {
            Some(local) => Reading {
                source,
                keys,
                object: &local,
            }
            .rotary(head_size)?,
            None => global.clone(),
        };
        Ok(Self { global, local })
    }
}

/// The objects that tell frequencies.
struct Objects {
    global: Object,
    /// Of layers with a window, where these have their own.
    local: Option<Object>,
}

impl Objects {
    fn read(source: &Source<'_>, keys: RotaryKeys) -> Result<Self, GraphError> {
        let [scaling, parameters] =
            ["rope_scaling", "rope_parameters"].map(|key| &source.config[key]);
        if !scaling.is_null() && !parameters.is_null() && scaling != parameters {
            let detail =
                "rope_scaling: stands beside rope_parameters and says otherwise; keep one of them";
            return Err(malformed(detail));
        }

        match (keys.local_theta, parameters.is_null()) {
            (None, true) => Ok(Self {
                global: Object::new("rope_scaling", scaling),
                local: None,
            }),
            (None, false) => Ok(Self {
                global: Object::new("rope_parameters", parameters),
                local: None,
            }),
            (Some(local), true) => {
                let theta = local.read(source)?;
                if local.key == keys.theta.key && (theta - local.default).abs() > 0.0 {
                    let detail = format!(
                        "{}: versions of the library differ in what {theta} means to layers with a window; \
                         give rope_parameters",
                        local.key
                    );
                    return Err(malformed(detail));
                }
                let value = json!({ "rope_theta": theta });
                Ok(Self {
                    global: Object::new("rope_scaling", scaling),
                    local: Some(Object::new("rope_scaling", &value)),
                })
            }
            (Some(_), false) => Self::by_kind(parameters),
        }
    }

    /// An object with one for each kind of layer.
    fn by_kind(parameters: &Value) -> Result<Self, GraphError> {
        let is_whole = parameters.as_object().is_some_and(|fields| {
            fields.len() == KINDS.len()
                && KINDS
                    .iter()
                    .all(|kind| fields.get(*kind).is_some_and(Value::is_object))
        });
        if !is_whole {
            let detail = format!(
                "rope_parameters: give an object for each of {}",
                KINDS.join(" and ")
            );
            return Err(malformed(detail));
        }
        let [global, local] =
            KINDS.map(|kind| Object::new(&format!("rope_parameters.{kind}"), &parameters[kind]));
        Ok(Self {
            global,
            local: Some(local),
        })
    }
}

fn malformed(detail: impl Into<String>) -> GraphError {
    GraphError::Malformed {
        detail: detail.into(),
    }
}

/// What a configuration says of rotary positions, and where.
struct Object {
    key: String,
    value: Value,
}

impl Object {
    fn new(key: &str, value: &Value) -> Self {
        Self {
            key: key.to_owned(),
            value: value.clone(),
        }
    }

    fn positive(&self, name: &str) -> Result<f64, GraphError> {
        let Self { key, value } = self;
        let number = value[name].as_f64().filter(|number| *number > 0.0);
        number.ok_or_else(|| {
            malformed(format!(
                "{key}.{name}: give a number above 0, not {}",
                value[name]
            ))
        })
    }

    /// `None` where it is absent or `null`.
    fn optional(&self, name: &str) -> Result<Option<f64>, GraphError> {
        if self.value[name].is_null() {
            Ok(None)
        } else {
            self.positive(name).map(Some)
        }
    }
}

/// An object within its configuration.
#[derive(Clone, Copy)]
struct Reading<'a> {
    source: &'a Source<'a>,
    keys: RotaryKeys,
    object: &'a Object,
}

impl Reading<'_> {
    fn rotary(self, head_size: usize) -> Result<Rotary, GraphError> {
        let Self {
            source,
            keys,
            object,
        } = self;
        let table = if keys.partial.is_some() {
            &settings::PARTIAL_ROPE
        } else {
            &settings::ROPE
        };
        settings::check_object(&format!("{}.", object.key), &object.value, &[table])?;

        let theta = match object.optional("rope_theta")? {
            Some(theta) => theta,
            None => keys.theta.read(source)?,
        };
        let plain = Rotary {
            theta,
            dims: self.dims(head_size)?,
            interleaved: keys.interleaved,
            ..Rotary::default()
        };
        Scaling(self).applied(plain)
    }

    /// The channels of a head that are turned; `None` for all.
    fn dims(self, head_size: usize) -> Result<Option<usize>, GraphError> {
        let Some(partial) = self.keys.partial else {
            return Ok(None);
        };
        let share = match self.object.optional("partial_rotary_factor")? {
            Some(share) => share,
            None => partial.read(self.source)?,
        };
        if (share - 1.0).abs() < f64::EPSILON {
            return Ok(None);
        }

        let dims = (head_size as f64 * share) as usize;
        if dims == 0 || dims > head_size || !dims.is_multiple_of(2) {
            let detail =
                format!("partial_rotary_factor: {share} of {head_size} channels is no even part");
            return Err(malformed(detail));
        }
        Ok(Some(dims))
    }
}
