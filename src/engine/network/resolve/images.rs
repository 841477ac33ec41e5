//! Convolutions, batch norm and pooling.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    op::Pair,
    program::{
        Layer, Param,
        layer::{BatchNorm, Conv2d, Pool, PoolKind},
    },
};

/// The most of a window's size, padding, stride and dilation, in pixels.
const MAX_PIXELS: usize = 1 << 16;

/// How a kernel goes over an image.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub stride: Pair,
    pub padding: Pair,
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
    dilation: usize,
}

impl Span {
    /// Positions of a convolution; none where the kernel is larger than the padded input.
    fn convolved(&self) -> Option<usize> {
        let reach = self.dilation.checked_mul(self.kernel - 1)?.checked_add(1)?;
        let padded = self.padding.checked_mul(2)?.checked_add(self.input)?;
        Some(padded.checked_sub(reach)? / self.stride + 1)
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
        let Window {
            stride,
            padding,
            dilation,
        } = window;
        let input = self.image()?;
        let [channels, height, width] = input;
        self.check_positive(stride, "stride")?;
        self.check_positive(dilation, "dilation")?;
        self.check_moderate(padding, "padding")?;

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

        let down = Span {
            input: height,
            kernel: kernel_height,
            stride: stride.0,
            padding: padding.0,
            dilation: dilation.0,
        };
        let across = Span {
            input: width,
            kernel: kernel_width,
            stride: stride.1,
            padding: padding.1,
            dilation: dilation.1,
        };
        let (Some(height), Some(width)) = (down.convolved(), across.convolved()) else {
            return Err(self.fault("the kernel is larger than the padded input"));
        };

        let output = [outputs, height, width];
        let layer = Layer::Conv2d(Conv2d {
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
            input,
            output,
        });
        Ok(Resolved {
            layer,
            output: output.to_vec(),
        })
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
        let [channels, height, width] = self.input;
        let down = Span {
            input: height,
            kernel: self.kernel.0,
            stride: self.stride.0,
            padding: self.padding.0,
            dilation: 1,
        };
        let across = Span {
            input: width,
            kernel: self.kernel.1,
            stride: self.stride.1,
            padding: self.padding.1,
            dilation: 1,
        };
        Some([
            channels,
            down.pooled(self.ceil_mode)?,
            across.pooled(self.ceil_mode)?,
        ])
    }
}
