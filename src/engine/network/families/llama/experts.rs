//! Which layers have experts, how many, and what they are called.

use serde_json::Value;

use super::{Builder, Source, named};
use crate::network::{
    error::GraphError,
    graph::Operand,
    op::{Activation, Clamp, ExpertLayers, MAX_EXPERTS, Op},
};

/// How a family's configurations tell experts, and its files name them.
pub(super) struct ExpertKeys {
    /// Names of the same number, the family's own first, and what the library takes without it.
    count: [&'static str; 2],
    default_count: usize,
    default_top_k: usize,
    /// `norm_topk_prob` says whether a token's shares sum to one; else they do.
    is_normalised_by_key: bool,
    /// The module of router and experts, and the router's name in it.
    module: &'static str,
    router: &'static str,
    /// Gate, up and down.
    layers: [&'static str; 3],
    /// `mlp_only_layers` and `decoder_sparse_step` tell layers without experts.
    has_dense_layers: bool,
    /// gpt-oss's: gate and up in one layer, biases everywhere, a clamped gate.
    is_clamped: bool,
}

const NAMES: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

pub(super) static QWEN3_MOE: ExpertKeys = ExpertKeys {
    count: ["num_local_experts", "num_experts"],
    default_count: 128,
    default_top_k: 8,
    is_normalised_by_key: true,
    module: "mlp",
    router: "gate",
    layers: NAMES,
    has_dense_layers: true,
    is_clamped: false,
};
pub(super) static MIXTRAL: ExpertKeys = ExpertKeys {
    count: ["num_local_experts", "num_experts"],
    default_count: 8,
    default_top_k: 2,
    is_normalised_by_key: false,
    module: "block_sparse_moe",
    router: "gate",
    layers: ["w1", "w3", "w2"],
    has_dense_layers: false,
    is_clamped: false,
};
pub(super) static OLMOE: ExpertKeys = ExpertKeys {
    count: ["num_experts", "num_local_experts"],
    default_count: 64,
    default_top_k: 8,
    is_normalised_by_key: true,
    module: "mlp",
    router: "gate",
    layers: NAMES,
    has_dense_layers: false,
    is_clamped: false,
};

pub(super) static GPT_OSS: ExpertKeys = ExpertKeys {
    count: ["num_local_experts", "num_experts"],
    default_count: 128,
    default_top_k: 4,
    is_normalised_by_key: false,
    module: "mlp",
    router: "router",
    // The name in the middle stands for nothing: the first layer is both.
    layers: ["gate_up_proj", "up_proj", "down_proj"],
    has_dense_layers: false,
    is_clamped: true,
};

/// The experts of a decoder.
pub(super) struct Routed {
    keys: &'static ExpertKeys,
    count: usize,
    top_k: usize,
    normalised: bool,
    activation: Activation,
    clamp: Option<Clamp>,
    /// For each layer whether it has experts.
    layers: Vec<bool>,
}

impl Routed {
    /// What the configuration says, of this many layers.
    pub(super) fn read(
        source: &Source<'_>,
        keys: &'static ExpertKeys,
        activation: &Op,
        depth: usize,
    ) -> Result<Self, GraphError> {
        let count = if keys.count.iter().all(|key| source.config[*key].is_null()) {
            keys.default_count
        } else {
            source.count_of(&keys.count)?
        };
        let top_k = match source.config.get("num_experts_per_tok") {
            None => keys.default_top_k,
            Some(_) => source.count("num_experts_per_tok")?,
        };
        if count > MAX_EXPERTS {
            let detail = format!(
                "{}: {count} experts are more than {MAX_EXPERTS}",
                keys.count[0]
            );
            return Err(malformed(detail));
        }
        if top_k > count {
            let detail = format!("num_experts_per_tok: is {top_k} of {count} experts");
            return Err(malformed(detail));
        }
        let told = source.config["norm_topk_prob"].as_bool().unwrap_or(false);
        let found = Self {
            keys,
            count,
            top_k,
            normalised: !keys.is_normalised_by_key || told,
            activation: of_gate(activation)?,
            clamp: keys.clamp(source)?,
            layers: keys.layers_with_experts(source, depth)?,
        };
        found.check(source)?;
        Ok(found)
    }

    pub(super) fn has(&self, block: usize) -> bool {
        self.layers.get(block).copied().unwrap_or_default()
    }

    fn name(&self, block: usize, part: &str) -> String {
        named(block, &format!("{}.{part}", self.keys.module))
    }

    /// Refuses a file with another number of experts, with biases that the library does not read, or without
    /// those that it would draw at random.
    fn check(&self, source: &Source<'_>) -> Result<(), GraphError> {
        let routed = (0..self.layers.len()).filter(|&block| self.has(block));
        for block in routed {
            let router = self.name(block, self.keys.router);
            let [found, _] = source.shape(&format!("{router}.weight"))?;
            if found != self.count {
                let [key, _] = self.keys.count;
                let detail = format!(
                    "{key}: is {}, but the router of the file has {found} ({router}.weight)",
                    self.count
                );
                return Err(malformed(detail));
            }
            let experts = self.name(block, "experts");
            let wanted = self.keys.is_clamped;
            let layers = self
                .keys
                .layers
                .iter()
                .filter(|layer| !wanted || **layer != "up_proj");
            let layers = layers.map(|layer| format!("{experts}.0.{layer}.bias"));
            let mut biases = layers.chain([format!("{router}.bias")]);
            if let Some(bias) = biases.find(|bias| source.has(bias) != wanted) {
                let have = if wanted { "each have a" } else { "have no" };
                let detail = format!("{bias}: experts and routers of this family {have} bias");
                return Err(malformed(detail));
            }
        }
        Ok(())
    }
}

impl ExpertKeys {
    fn clamp(&self, source: &Source<'_>) -> Result<Option<Clamp>, GraphError> {
        if !self.is_clamped {
            return Ok(None);
        }
        let alpha = source.number("swiglu_alpha", 1.702)?;
        Ok(Some(Clamp {
            alpha,
            limit: source.number("swiglu_limit", 7.0)?,
        }))
    }

    fn layers_with_experts(
        &self,
        source: &Source<'_>,
        depth: usize,
    ) -> Result<Vec<bool>, GraphError> {
        if !self.has_dense_layers {
            return Ok(vec![true; depth]);
        }
        let step = match source.config.get("decoder_sparse_step") {
            None => 1,
            Some(_) => source.count("decoder_sparse_step")?,
        };
        let dense = match &source.config["mlp_only_layers"] {
            Value::Null => Vec::new(),
            told => serde_json::from_value::<Vec<usize>>(told.clone()).map_err(|_| {
                malformed(format!(
                    "mlp_only_layers: give numbers of layers, not {told}"
                ))
            })?,
        };
        Ok((0..depth)
            .map(|layer| !dense.contains(&layer) && (layer + 1).is_multiple_of(step))
            .collect())
    }
}

fn of_gate(activation: &Op) -> Result<Activation, GraphError> {
    match activation {
        Op::Silu {} => Ok(Activation::Silu),
        Op::Gelu {} => Ok(Activation::Gelu),
        Op::GeluTanh {} => Ok(Activation::GeluTanh),
        Op::Relu {} => Ok(Activation::Relu),
        other => Err(malformed(format!(
            "hidden_act: {} is no gate of experts",
            other.name()
        ))),
    }
}

fn malformed(detail: String) -> GraphError {
    GraphError::Malformed { detail }
}

impl Routed {
    /// The experts of a block, each token through its own.
    pub(super) fn push(&self, builder: &mut Builder, block: usize, x: Operand) -> Operand {
        let logits = builder.linear(&self.name(block, self.keys.router), x);
        let param = self.name(block, "experts");
        let op = Op::Experts {
            param: param.clone(),
            count: self.count,
            top_k: self.top_k,
            normalised: self.normalised,
            activation: self.activation,
            layers: ExpertLayers::named(self.keys.layers),
            interleaved: self.keys.is_clamped,
            clamp: self.clamp,
        };
        builder.push(param, op, &[x, logits])
    }
}
