//! Attention: the sizes of its heads, and the options that must fit them.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    op::{Distances, FusedOrder, HeadNorms, Op, PositionBias, Rotary},
    program::{
        Layer,
        layer::{self, Attention, Norm, NormKind},
    },
};

/// What is read beside the ids.
enum Operands {
    /// Widths of queries, keys and values.
    Separate([usize; 3]),
    /// The width of one tensor of all three.
    Fused(usize),
}

impl Distances {
    /// Inputs that stand behind the values.
    fn inputs(&self) -> usize {
        usize::from(self.keys) + usize::from(self.queries)
    }
}

impl Resolver<'_> {
    #[expect(
        clippy::too_many_lines,
        reason = "every option of attention is checked here"
    )]
    pub(super) fn attention(&self) -> Result<Resolved, GraphError> {
        let Op::Attention {
            heads,
            kv_heads,
            causal,
            mask,
            rotary,
            fused,
            head_norms,
            window,
            scale,
            soft_cap,
            fully_masked,
            sinks,
            position_bias,
            distances,
            mask_queries,
            cross,
            windows,
        } = &self.node.op
        else {
            return Err(self.fault("is no attention"));
        };
        let (heads, kv_heads) = (*heads, kv_heads.unwrap_or(*heads));
        let operands = self.operands(*mask, *cross, distances.as_deref())?;
        let head_size = self.head_size(heads, kv_heads, &operands)?;

        if *fused == FusedOrder::Heads
            && (heads != kv_heads || matches!(operands, Operands::Separate(_)))
        {
            let detail = "fused by heads needs one input and as many kv_heads as heads";
            return Err(self.fault(detail));
        }
        if let Some(rotary) = rotary {
            self.check_rotary(rotary, head_size)?;
        }
        self.check_above_zero("scale", *scale)?;
        self.check_above_zero("soft_cap", *soft_cap)?;
        self.check_above_zero("window", window.map(|window| window as f64))?;
        if *mask_queries && !mask {
            return Err(self.fault("mask_queries needs mask"));
        }
        self.check_cross()?;
        if let Some(distances) = distances {
            let is_plain = heads == kv_heads && rotary.is_none() && head_norms.is_none();
            self.check_distances(distances, heads * head_size, is_plain)?;
        }

        let attention = Attention {
            heads,
            kv_heads,
            head_size,
            causal: *causal,
            mask: *mask,
            rotary: rotary.clone(),
            fused: *fused,
            head_norms: head_norms
                .as_ref()
                .map(|norms| self.head_norms(norms, head_size))
                .transpose()?,
            window: *window,
            scale: scale.unwrap_or_else(|| (head_size as f64).sqrt().recip()),
            soft_cap: *soft_cap,
            fully_masked: *fully_masked,
            sinks: sinks
                .as_ref()
                .map(|name| self.needed_vector(name.clone(), heads))
                .transpose()?,
            position_bias: position_bias
                .as_ref()
                .map(|bias| self.position_bias(bias, heads))
                .transpose()?,
            distances: distances.as_deref().cloned(),
            mask_queries: *mask_queries,
            cross: cross
                .then(|| self.tokens(1).map(|[keys, _]| keys))
                .transpose()?,
            windows: windows
                .as_ref()
                .map(|windows| self.windows(windows, heads))
                .transpose()?,
        };
        let [tokens, _] = self.tokens(0)?;
        let output = vec![tokens, heads * head_size];

        Ok(Resolved {
            layer: Layer::Attention(attention),
            output,
        })
    }

    fn operands(
        &self,
        mask: bool,
        cross: bool,
        distances: Option<&Distances>,
    ) -> Result<Operands, GraphError> {
        let [tokens, width] = self.tokens(0)?;
        let count = self.inputs.len() - usize::from(mask).min(self.inputs.len());
        let seen = if cross { self.tokens(1)?[0] } else { tokens };
        if mask {
            self.check_ids_of(seen, count)?;
        }
        let of_distances = distances.map_or(0, Distances::inputs);

        match count - of_distances.min(count) {
            1 if distances.is_none() && !cross => Ok(Operands::Fused(width)),
            3 => {
                let [keys, values] = [self.tokens(1)?, self.tokens(2)?];
                if [keys[0], values[0]] != [seen; 2] {
                    return Err(self.fault("needs queries, keys and values of as many tokens"));
                }
                Ok(Operands::Separate([width, keys[1], values[1]]))
            }
            _ => Err(self.fault(
                "reads [q, k, v] or one fused [q|k|v], behind them what distances are, and with mask the ids",
            )),
        }
    }

    fn check_above_zero(&self, name: &str, number: Option<f64>) -> Result<(), GraphError> {
        if number.is_some_and(|number| !(number.is_finite() && number > 0.0)) {
            return Err(self.fault(format!("{name} must be above 0")));
        }
        Ok(())
    }

    /// What distances are must have a middle row, and be as wide as the heads.
    fn check_distances(
        &self,
        distances: &Distances,
        width: usize,
        is_plain: bool,
    ) -> Result<(), GraphError> {
        if !is_plain || distances.inputs() == 0 {
            let detail = "distances need keys, queries or both; as many kv_heads as heads; no rotary, no head_norms";
            return Err(self.fault(detail));
        }
        let single = distances.buckets.map(|buckets| buckets / 2);
        if single.is_some_and(|single| single == 0 || distances.max_distance <= single + 1) {
            return Err(
                self.fault("distances need buckets of 2 or more, and a max_distance above them")
            );
        }
        for input in 3..3 + distances.inputs() {
            let [rows, found] = self.tokens(input)?;
            if found != width || rows == 0 || !rows.is_multiple_of(2) {
                let detail = format!("distances need inputs [2 s, {width}], not [{rows}, {found}]");
                return Err(self.fault(detail));
            }
        }

        Ok(())
    }

    /// Channels of one head; the inputs must have the widths of the heads.
    fn head_size(
        &self,
        heads: usize,
        kv_heads: usize,
        operands: &Operands,
    ) -> Result<usize, GraphError> {
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(self.fault(format!("{kv_heads} kv_heads must divide {heads} heads")));
        }

        // Heads that the fused channels are of.
        let all = kv_heads.saturating_mul(2).saturating_add(heads);
        let (size, fits) = match operands {
            Operands::Separate([queries, keys, values]) => {
                let size = queries / heads;
                let kv_width = size * kv_heads;
                (
                    size,
                    size * heads == *queries && [*keys, *values] == [kv_width; 2],
                )
            }
            Operands::Fused(width) => (width / all, width.is_multiple_of(all)),
        };
        if !fits || size == 0 {
            let detail = format!(
                "{heads} heads and {kv_heads} kv_heads do not fit {:?}",
                self.inputs
            );
            return Err(self.fault(detail));
        }

        Ok(size)
    }

    fn check_rotary(&self, rotary: &Rotary, head_size: usize) -> Result<(), GraphError> {
        let dims = rotary.dims.unwrap_or(head_size);
        if !dims.is_multiple_of(2) || dims == 0 {
            return Err(self.fault("rotary needs heads of an even size, or an even number of dims"));
        }
        if dims > head_size {
            return Err(self.fault(format!("rotary turns {dims} dims of heads of {head_size}")));
        }
        if let Some(longrope) = &rotary.longrope {
            let factors = [&longrope.short_factor, &longrope.long_factor];
            if factors.iter().any(|factors| factors.len() != dims / 2) {
                let detail = format!("longrope needs {} short and long factors", dims / 2);
                return Err(self.fault(detail));
            }
        }

        Ok(())
    }

    fn position_bias(
        &self,
        bias: &PositionBias,
        heads: usize,
    ) -> Result<layer::PositionBias, GraphError> {
        let &PositionBias {
            ref param,
            buckets,
            max_distance,
            one_sided,
        } = bias;
        // Half of a side's buckets are single distances; the others begin behind them.
        let single = buckets / if one_sided { 2 } else { 4 };
        if single == 0 || max_distance <= single {
            let detail = format!("there are no {buckets} buckets of distances to {max_distance}");
            return Err(self.fault(detail));
        }

        let table = self.weight::<2>(param)?;
        if table.shape[0] < buckets || table.shape[1] != heads {
            return Err(table.misfit(format!("[{buckets}, {heads}]")));
        }

        Ok(layer::PositionBias {
            table,
            buckets,
            max_distance,
            one_sided,
        })
    }

    fn head_norms(
        &self,
        norms: &HeadNorms,
        head_size: usize,
    ) -> Result<layer::HeadNorms, GraphError> {
        Ok(layer::HeadNorms {
            queries: self.head_norm(&norms.queries, norms, head_size)?,
            keys: self.head_norm(&norms.keys, norms, head_size)?,
        })
    }

    fn head_norm(
        &self,
        param: &str,
        norms: &HeadNorms,
        head_size: usize,
    ) -> Result<Norm, GraphError> {
        let &HeadNorms {
            eps, unit_offset, ..
        } = norms;
        let weight = self.needed_vector(format!("{param}.weight"), head_size)?;
        Ok(Norm {
            kind: NormKind::RootMeanSquare { unit_offset },
            weight,
            bias: None,
            eps,
        })
    }
}
