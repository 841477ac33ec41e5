//! How many inputs the fits take, and how many forward passes.

use crate::{
    network::{Graph, Input, Program},
    transfer::functional::{self, Rule},
};

/// Inputs that a fit sees at most.
pub const MOST_SAMPLES: usize = 1024;
/// Bytes of activations that all models of a fit hold at once: fewer inputs are taken where each is large.
pub const MAX_ACTIVATION_BYTES: usize = 2 << 30;
/// Values of a model from which on it is large.
pub const LARGE: usize = 1 << 28;
/// The rules that are tried from every start.
pub(super) const RULES: [Rule; 2] = [Rule::Head, Rule::Every];
/// Inputs that a fit sees however large they are.
pub(super) const LEAST_SAMPLES: usize = 8;
/// One in so many inputs is held back while the fit is chosen.
pub(super) const HELD_BACK: usize = 5;

/// Whether a model of so many values is fitted from one start alone, its layers on a disk.
pub fn is_large(values: usize) -> bool {
    values >= LARGE
}

/// Inputs of a fit, of so many training samples. Of sequences shorter than the longest that the network
/// reads, `length` says how long they are.
pub fn samples(graph: &Graph, program: &Program, train: usize, length: usize) -> usize {
    let longest = program.input.shape().first().copied().unwrap_or(1);
    let is_tokens = matches!(program.input, Input::Tokens { .. });
    let share = if is_tokens {
        length.min(longest) as f64 / longest.max(1) as f64
    } else {
        1.0
    };
    let each = share * (size_of::<f32>() * functional::held_values(graph, program)) as f64;

    let walks = (3 + 2 * RULES.len()) as f64;
    let fit = (MAX_ACTIVATION_BYTES as f64 / (walks * each).max(1.0)) as usize;
    MOST_SAMPLES.min(train).min(fit.max(LEAST_SAMPLES))
}

/// Forward passes of all fits on so many inputs, of single samples.
pub fn forwards(samples: usize, across_widths: bool, is_large: bool) -> usize {
    let starts = if across_widths || is_large { 1 } else { 2 };
    let trials = RULES.len() * starts;
    let held = samples / HELD_BACK;
    if is_large {
        return (samples - held) * (3 + trials) + held * (1 + trials);
    }
    // Three models beside the results, and what is predicted for the inputs that are held back.
    (samples - held) * (3 + trials) + held * (1 + trials) + samples * (3 + 1)
}
