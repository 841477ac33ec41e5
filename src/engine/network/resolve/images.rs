//! Convolutions, batch norm and pooling.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    op::Pair,
    program::{
        Layer, Param,
        layer::{BatchNorm, Conv2d, GroupNorm, Pool, PoolKind, ResponseNorm},
    },
};

/// The most of a window's size, padding, stride and dilation, in pixels.
const MAX_PIXELS: usize = 1 << 16;

/// How a kernel goes over an image.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub stride: Pair,
    pub padding: Pair,
    /// As before the image where absent.
    pub padding_end: Option<Pair>,
    /// `TensorFlow`'s padding in the place of both.
    pub same: bool,
    pub dilation: Pair,
}

/// Max or average pooling, as a configuration has it.
pub(super) struct Pooling {
    pub kind: PoolKind,
    pub kernel: Pair,
    /// The kernel where absent.
    pub stride: Option<Pair>,
    pub padding: Pair,
    pub ceil_mode: bool,
}

/// How a kernel goes along one axis.
struct Span {
    input: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    padding_end: usize,
    dilation: usize,
}

impl Span {
    /// Along the height and along the width.
    fn both([_, height, width]: [usize; 3], kernel: Pair, window: Window) -> [Self; 2] {
        let Window {
            stride,
            padding,
            padding_end,
            dilation,
            ..
        } = window;
        let end = padding_end.unwrap_or(padding);

        [
            Self {
                input: height,
                kernel: kernel.0,
                stride: stride.0,
                padding: padding.0,
                padding_end: end.0,
                dilation: dilation.0,
            },
            Self {
                input: width,
                kernel: kernel.1,
                stride: stride.1,
                padding: padding.1,
                padding_end: end.1,
                dilation: dilation.1,
            },
        ]
    }

    /// With `TensorFlow`'s padding: an output for every stride that has begun, the odd zero behind.
    fn padded_as_same(self) -> Option<Self> {
        let last = (self.input.div_ceil(self.stride)).checked_sub(1)?;
        let needed = last.checked_mul(self.stride)?.checked_add(self.reach()?)?;
        let zeros = needed.saturating_sub(self.input);
        Some(Self {
            padding: zeros / 2,
            padding_end: zeros - zeros / 2,
            ..self
        })
    }

    /// Pixels from the first that a kernel meets to the last.
    fn reach(&self) -> Option<usize> {
        self.dilation.checked_mul(self.kernel - 1)?.checked_add(1)
    }

    /// Positions of a convolution; none where the kernel is larger than the padded input.
    fn convolved(&self) -> Option<usize> {
        let zeros = self.padding.checked_add(self.padding_end)?;
        let padded = zeros.checked_add(self.input)?;
        Some(padded.checked_sub(self.reach()?)? / self.stride + 1)
    }

    /// Positions of a pooling, by `PyTorch`'s rule: a window must start inside the input or its left
    /// padding.
    fn pooled(&self, ceil_mode: bool) -> Option<usize> {
        if self.padding > self.kernel / 2 {
            return None;
        }
        let padded = self.padding.checked_mul(2)?.checked_add(self.input)?;
        let room = padded.checked_sub(self.kernel)?;
        if !ceil_mode {
            return Some(room / self.stride + 1);
        }

        let windows = room.div_ceil(self.stride) + 1;
        let starts_outside = (windows - 1) * self.stride >= self.input + self.padding;

        Some(if starts_outside { windows - 1 } else { windows })
    }
}

/// How a convolution goes over an image, and the height and width of what it puts out; none where the kernel is
/// larger than the padded input.
fn convolved(input: [usize; 3], kernel: Pair, window: Window) -> Option<([Span; 2], [usize; 2])> {
    let [down, across] = Span::both(input, kernel, window);
    let spans = if window.same {
        [down.padded_as_same()?, across.padded_as_same()?]
    } else {
        [down, across]
    };
    let output = [spans[0].convolved()?, spans[1].convolved()?];
    Some((spans, output))
}

impl Resolver<'_> {
    pub(super) fn conv2d(
        &self,
        param: &str,
        window: Window,
        groups: usize,
    ) -> Result<Resolved, GraphError> {
        let bias = format!("{param}.bias");
        self.convolution(self.weight::<4>(param)?, bias, window, groups)
    }

    /// A convolution along an image of one row.
    pub(super) fn conv1d(
        &self,
        param: &str,
        stride: usize,
        padding: usize,
    ) -> Result<Resolved, GraphError> {
        let input = self.image()?;
        if input[1] != 1 {
            return Err(self.fault(format!("needs an input [C, 1, L], not {input:?}")));
        }
        let Param {
            name,
            shape: [outputs, inputs, kernel],
        } = self.weight::<3>(param)?;
        let weight = Param {
            name,
            shape: [outputs, inputs, 1, kernel],
        };
        let window = Window {
            stride: Pair(1, stride),
            padding: Pair(0, padding),
            padding_end: None,
            same: false,
            dilation: Pair(1, 1),
        };

        self.convolution(weight, format!("{param}.bias"), window, 1)
    }

    fn convolution(
        &self,
        weight: Param<4>,
        bias: String,
        window: Window,
        groups: usize,
    ) -> Result<Resolved, GraphError> {
        let input = self.image()?;
        let channels = input[0];
        self.check_positive(window.stride, "stride")?;
        self.check_positive(window.dilation, "dilation")?;
        self.check_moderate(window.padding, "padding")?;
        self.check_moderate(window.padding_end.unwrap_or_default(), "padding_end")?;
        let is_padded = window.padding != Pair(0, 0) || window.padding_end.is_some();
        if window.same && is_padded {
            return Err(self.fault("takes same or a padding, not both"));
        }

        let [outputs, inputs, kernel_height, kernel_width] = weight.shape;
        if groups == 0 || !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(self.fault(format!(
                "groups {groups} must divide the channels {channels} and {outputs}"
            )));
        }
        if inputs != channels / groups {
            return Err(weight.misfit(format!("[out, {}, kh, kw]", channels / groups)));
        }
        let bias = self.vector(bias, outputs)?;

        let kernel = Pair(kernel_height, kernel_width);
        let Some(([down, across], [height, width])) = convolved(input, kernel, window) else {
            return Err(self.fault("the kernel is larger than the padded input"));
        };
        let output = [outputs, height, width];
        let layer = Layer::Conv2d(Conv2d {
            weight,
            bias,
            stride: window.stride,
            padding: Pair(down.padding, across.padding),
            padding_end: Pair(down.padding_end, across.padding_end),
            dilation: window.dilation,
            groups,
            input,
            output,
        });

        Ok(Resolved {
            layer,
            output: output.to_vec(),
        })
    }

    pub(super) fn group_norm(
        &self,
        param: &str,
        groups: usize,
        eps: f64,
    ) -> Result<Resolved, GraphError> {
        let input = self.image()?;
        let channels = input[0];
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(self.fault(format!(
                "groups {groups} must divide the channels {channels}"
            )));
        }
        let norm = GroupNorm {
            weight: self.needed_vector(format!("{param}.weight"), channels)?,
            bias: self.vector(format!("{param}.bias"), channels)?,
            groups,
            eps,
            input,
        };

        self.unchanged(Layer::GroupNorm(norm))
    }

    pub(super) fn response_norm(&self, param: &str, eps: f64) -> Result<Resolved, GraphError> {
        let input = self.image()?;
        let norm = ResponseNorm {
            weight: self.channels_of(format!("{param}.weight"), input[0])?,
            bias: self.channels_of(format!("{param}.bias"), input[0])?,
            eps,
            input,
        };
        self.unchanged(Layer::ResponseNorm(norm))
    }

    /// One value a channel, `[C]` or `[1, 1, 1, C]` as the op has it.
    fn channels_of(&self, name: String, channels: usize) -> Result<Param<1>, GraphError> {
        let rank = self
            .node
            .op
            .params()
            .first()
            .map_or(1, |param| param.axes.len());
        let wanted = [&vec![1; rank.saturating_sub(1)][..], &[channels]].concat();

        match self.tensor(&name)? {
            Some(info) if info.shape == wanted => Ok(Param {
                name,
                shape: [channels],
            }),
            Some(info) => Err(GraphError::WrongShape {
                tensor: name,
                expected: format!("{wanted:?}"),
                found: info.shape.clone(),
            }),
            None => Err(self.missing(name)),
        }
    }

    pub(super) fn batch_norm(&self, param: &str, eps: f64) -> Result<Resolved, GraphError> {
        let input = self.one()?.to_vec();
        if input.len() == 2 {
            return Err(self.fault(format!("needs an input [F] or [C, H, W], not {input:?}")));
        }

        let channels = input[0];
        let norm = BatchNorm {
            gamma: self.vector(format!("{param}.weight"), channels)?,
            beta: self.vector(format!("{param}.bias"), channels)?,
            running_mean: self.needed_vector(format!("{param}.running_mean"), channels)?,
            running_var: self.needed_vector(format!("{param}.running_var"), channels)?,
            eps,
        };

        Ok(Resolved {
            layer: Layer::BatchNorm(norm),
            output: input,
        })
    }

    pub(super) fn pool(&self, pooling: Pooling) -> Result<Resolved, GraphError> {
        let Pooling {
            kind,
            kernel,
            stride,
            padding,
            ceil_mode,
        } = pooling;
        let stride = stride.unwrap_or(kernel);
        let input = self.image()?;
        self.check_positive(kernel, "kernel")?;
        self.check_positive(stride, "stride")?;
        self.check_moderate(padding, "padding")?;

        let pool = Pool {
            kind,
            kernel,
            stride,
            padding,
            ceil_mode,
            input,
        };
        let Some(output) = pool.output() else {
            let detail = "the window does not fit the input, or the padding exceeds half of it";
            return Err(self.fault(detail));
        };

        Ok(Resolved {
            layer: Layer::Pool(pool),
            output: output.to_vec(),
        })
    }

    pub(super) fn adaptive_avg_pool(&self, output: Pair) -> Result<Resolved, GraphError> {
        self.check_positive(output, "output")?;
        let input = self.image()?;
        let layer = Layer::AdaptiveAvgPool { input, output };
        Ok(Resolved {
            layer,
            output: vec![input[0], output.0, output.1],
        })
    }

    pub(super) fn global_avg_pool(&self) -> Result<Resolved, GraphError> {
        let input = self.image()?;
        Ok(Resolved {
            layer: Layer::GlobalAvgPool { input },
            output: vec![input[0]],
        })
    }

    fn check_positive(&self, pair: Pair, what: &str) -> Result<(), GraphError> {
        if pair.0 == 0 || pair.1 == 0 {
            return Err(self.fault(format!("{what} must be at least 1")));
        }
        self.check_moderate(pair, what)
    }

    fn check_moderate(&self, pair: Pair, what: &str) -> Result<(), GraphError> {
        if pair.0.max(pair.1) > MAX_PIXELS {
            let detail = format!("{what} {:?} is more than {MAX_PIXELS}", pair.array());
            return Err(self.fault(detail));
        }
        Ok(())
    }
}

impl Pool {
    /// `[C, h, w]`; none where a window does not fit.
    fn output(&self) -> Option<[usize; 3]> {
        let channels = self.input[0];
        let window = Window {
            stride: self.stride,
            padding: self.padding,
            padding_end: None,
            same: false,
            dilation: Pair(1, 1),
        };
        let [down, across] = Span::both(self.input, self.kernel, window);

        Some([
            channels,
            down.pooled(self.ceil_mode)?,
            across.pooled(self.ceil_mode)?,
        ])
    }
}
