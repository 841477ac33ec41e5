//! Layers that work on every value by itself, or pass some values on.

use super::{Resolved, Resolver};
use crate::network::{error::GraphError, program::Layer};

impl Resolver<'_> {
    /// A layer that puts out what it reads, in its shape.
    pub(super) fn unchanged(&self, layer: Layer) -> Result<Resolved, GraphError> {
        Ok(Resolved {
            layer,
            output: self.one()?.to_vec(),
        })
    }

    /// A layer that reads several inputs of one shape.
    pub(super) fn elementwise(&self, layer: Layer) -> Result<Resolved, GraphError> {
        match self.inputs.split_first() {
            Some((first, rest)) if !rest.is_empty() => {
                if rest.iter().any(|other| other != first) {
                    return Err(self.fault(format!("reads different shapes: {:?}", self.inputs)));
                }
                Ok(Resolved {
                    layer,
                    output: first.to_vec(),
                })
            }
            _ => Err(self.fault("needs at least two inputs")),
        }
    }

    /// The product of two inputs; the second may have one value for each channel of an image.
    pub(super) fn gate(&self) -> Result<Resolved, GraphError> {
        let [map, values] = self.inputs[..] else {
            return Err(self.fault("takes two inputs"));
        };
        let &[channels, height, width] = map else {
            return self.elementwise(Layer::Gate);
        };
        if map == values || !(values == [channels] || values == [channels, 1, 1]) {
            return self.elementwise(Layer::Gate);
        }

        Ok(Resolved {
            layer: Layer::ChannelGate {
                input: [channels, height, width],
            },
            output: map.to_vec(),
        })
    }

    /// Channels one behind the other, of inputs that are of the same size otherwise.
    pub(super) fn concat(&self) -> Result<Resolved, GraphError> {
        let [first, rest @ ..] = self.inputs.as_slice() else {
            return Err(self.fault("takes at least one input"));
        };
        let axis = usize::from(first.len() == 2);
        let mut output = first.to_vec();
        for other in rest {
            let same_rank = other.len() == output.len();
            let mut others = (0..output.len()).filter(|&at| at != axis);
            if !same_rank || others.any(|at| other[at] != output[at]) {
                return Err(self.fault(format!("reads different sizes: {:?}", self.inputs)));
            }
            output[axis] = output[axis].saturating_add(other[axis]);
        }

        Ok(Resolved {
            layer: Layer::Concat,
            output,
        })
    }

    pub(super) fn scale(&self, factor: f64) -> Result<Resolved, GraphError> {
        if !factor.is_finite() {
            return Err(self.fault("factor must be a number"));
        }
        self.unchanged(Layer::Scale { factor })
    }

    pub(super) fn soft_cap(&self, cap: f64) -> Result<Resolved, GraphError> {
        if !(cap.is_finite() && cap > 0.0) {
            return Err(self.fault("cap must be above 0"));
        }
        self.unchanged(Layer::SoftCap { cap })
    }

    pub(super) fn split(&self, parts: usize, part: usize) -> Result<Resolved, GraphError> {
        let mut output = self.one()?.to_vec();
        let Some(channels) = output.last_mut().filter(|_| self.inputs[0].len() < 3) else {
            return Err(self.fault("needs an input [F] or [S, D]"));
        };
        if part >= parts || !channels.is_multiple_of(parts) {
            let detail = format!("part {part} of {parts} equal parts of {channels} channels");
            return Err(self.fault(format!("there is no {detail}")));
        }
        *channels /= parts;

        Ok(Resolved {
            layer: Layer::Split { parts, part },
            output,
        })
    }
}
