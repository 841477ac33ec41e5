//! By hand: what `burn`'s attention gives, too.

use super::*;
use crate::{
    execution::executor::Executor,
    network::op::{FullyMasked, FusedOrder},
    tensors::Checkpoint,
};

fn layer(causal: bool) -> layer::Attention {
    layer::Attention {
        heads: 2,
        kv_heads: 1,
        head_size: 1,
        causal,
        mask: true,
        rotary: None,
        fused: FusedOrder::Parts,
        head_norms: None,
        window: None,
        scale: 1.0,
        soft_cap: None,
        fully_masked: FullyMasked::Zero,
        sinks: None,
        position_bias: None,
        windows: None,
        distances: None,
        mask_queries: false,
        cross: None,
    }
}

/// Two positions, two query heads of one channel, one key and value head.
fn inputs(ids: &[f32]) -> Inputs<CpuActivation> {
    let of_keys = |values: [f32; 2]| CpuActivation::new(values.to_vec(), &[2, 1]);
    Inputs {
        first: CpuActivation::new(vec![0.0, 0.0, 3f32.ln(), 0.0], &[2, 2]),
        rest: vec![
            of_keys([0.0, 1.0]),
            of_keys([4.0, 8.0]),
            CpuActivation::new(ids.to_vec(), &[2]),
        ],
    }
}

fn none() -> Weights {
    Weights::of(&[], &Checkpoint::new(), &Executor::Cpu)
}

fn close(layer: &layer::Attention, ids: &[f32], expected: [f32; 4]) {
    let (found, _) = Attention::new(layer, &inputs(ids), &none()).forward();
    assert_eq!(found.shape(), [2, 2]);
    for (found, expected) in found.values().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
    }
}

#[test]
fn shares_are_softmaxes_over_what_may_be_seen() {
    // The last query's first head weighs the keys 1 : 3.
    close(&layer(false), &[5.0, 6.0], [6.0, 6.0, 7.0, 6.0]);
    close(&layer(true), &[5.0, 6.0], [4.0, 4.0, 7.0, 6.0]);
    close(&layer(false), &[5.0, -1.0], [4.0; 4]);
    // torch.nn.functional.scaled_dot_product_attention
    close(&layer(true), &[-1.0, -1.0], [0.0; 4]);
    // A window of one position is the position itself.
    let near = layer::Attention {
        window: Some(1),
        ..layer(true)
    };
    close(&near, &[5.0, 6.0], [4.0, 4.0, 8.0, 8.0]);
    close(&near, &[5.0, -1.0], [4.0, 4.0, 0.0, 0.0]);
    // As transformers' eager attention, whose scores are then all the least number.
    let evenly = layer::Attention {
        fully_masked: FullyMasked::Mean,
        ..near
    };
    close(&evenly, &[5.0, -1.0], [4.0, 4.0, 6.0, 6.0]);
}

#[test]
fn scores_are_scaled_and_capped() {
    // The score ln 3 becomes ln 2 by a factor.
    let scaled = layer::Attention {
        scale: 2f64.ln() / 3f64.ln(),
        ..layer(true)
    };
    close(&scaled, &[5.0, 6.0], [4.0, 4.0, 20.0 / 3.0, 6.0]);
    // And tanh(ln 3) = 4/5 by a cap of 1.
    let capped = layer::Attention {
        soft_cap: Some(1.0),
        ..layer(true)
    };
    let share = 1.0 / (1.0 + (-0.8f32).exp());
    close(&capped, &[5.0, 6.0], [4.0, 4.0, 4.0 + 4.0 * share, 6.0]);
}

/// `∂y/∂v` are the shares, and `∂y/∂s = share · (v − y)`.
#[test]
fn gradients_by_hand() {
    let (layer, inputs, weights) = (layer(false), inputs(&[5.0, 6.0]), none());
    let attention = Attention::new(&layer, &inputs, &weights);
    let (y, rows) = attention.forward();
    // Of the last query's first head alone, whose shares are 1/4 and 3/4.
    let dy = CpuActivation::new(vec![0.0, 0.0, 1.0, 0.0], &[2, 2]);
    let output = Output {
        y: &y,
        dy: &dy,
        rows: &rows,
    };
    let found = attention.backward(output, &mut gradients::Gradients::default());
    let slope = 0.75 * (8.0 - 7.0);
    let expected = [
        vec![0.0, 0.0, slope, 0.0],
        vec![0.25 * (4.0 - 7.0) * 3f32.ln(), slope * 3f32.ln()],
        vec![0.25, 0.75],
    ];
    for (found, expected) in found.iter().zip(expected) {
        let found = found.as_ref().unwrap();
        for (found, expected) in found.values().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
        }
    }
    assert!(found[3].is_none(), "ids have no gradient");
}
