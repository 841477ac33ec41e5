//! Swin (Liu et al. 2021) in Hugging Face's form and in timm's: attention inside windows of the patches, in every
//! second block shifted, and stages between which two by two neighbours become one token.

use serde_json::{Value, json};

use super::{Builder, Source, Timm, settings, timm_vit, transformer::Attending};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{Op, Pair, Windows},
};

pub(super) const TIMM: Timm = Timm {
    names: &[
        "swin_tiny_patch4_window7_224",
        "swin_small_patch4_window7_224",
        "swin_base_patch4_window7_224",
        "swin_base_patch4_window12_384",
        "swin_large_patch4_window7_224",
        "swin_large_patch4_window12_384",
        "swin_s3_tiny_224",
        "swin_s3_small_224",
        "swin_s3_base_224",
    ],
    settings: &settings::TIMM_SWIN,
    pool: "avg",
    build: timm,
};

/// The eps of the norms that no configuration speaks of.
const EPS: f64 = 1e-5;

/// The names of a block's tensors behind its own.
struct Names {
    norms: [&'static str; 2],
    /// Layers of queries, keys and values, or of all three.
    projections: &'static [&'static str],
    bias: &'static str,
    output: &'static str,
    hidden: [&'static str; 2],
}

const HUGGING_FACE: Names = Names {
    norms: ["layernorm_before", "layernorm_after"],
    projections: &[
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    bias: "attention.self.relative_position_bias_table",
    output: "attention.output.dense",
    hidden: ["intermediate.dense", "output.dense"],
};
const OF_TIMM: Names = Names {
    norms: ["norm1", "norm2"],
    projections: &["attn.qkv"],
    bias: "attn.relative_position_bias_table",
    output: "attn.proj",
    hidden: ["mlp.fc1", "mlp.fc2"],
};

/// What all blocks have in common.
struct Blocks<'a> {
    source: &'a Source<'a>,
    names: &'static Names,
    eps: f64,
    activation: Op,
    /// An axis that a window fills is not shifted; otherwise nothing is where a window fills one.
    shifts_each_axis: bool,
}

/// Tokens that lie in a grid.
#[derive(Clone, Copy)]
struct Tokens {
    at: Operand,
    grid: Pair,
}

/// Hugging Face's `SwinForImageClassification`, and `SwinModel` as a body.
pub(super) fn hugging_face(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = if source.is_body() {
        Task::Representation
    } else {
        source.sample_task("ForImageClassification")?
    };
    let projection = "swin.embeddings.patch_embeddings.projection";
    let input = source.image_of_any_size(&format!("{projection}.weight"))?;
    let blocks = Blocks {
        source,
        names: &HUGGING_FACE,
        eps: source.number("layer_norm_eps", EPS)?,
        activation: source.activation("hidden_act", "gelu")?,
        shifts_each_axis: false,
    };
    let depths = blocks.depths("swin.encoder.layers")?;
    check_depths(source, &depths)?;

    let mut builder = Builder::default();
    let mut x = blocks.patches(&mut builder, projection, "swin.embeddings.norm", &input)?;
    let positions = "swin.embeddings.position_embeddings";
    if source.has(positions) {
        x.at = with_positions(&mut builder, positions, x.at);
    }
    for (stage, &depth) in depths.iter().enumerate() {
        let prefix = format!("swin.encoder.layers.{stage}");
        x = blocks.stage(&mut builder, &prefix, depth, x)?;
        if stage + 1 < depths.len() {
            x = merged(&mut builder, &prefix, x);
        }
    }

    let normed = builder.layer_norm("swin.layernorm", blocks.eps, x.at);
    if task == Task::Representation {
        return Ok(builder.finish_for(task, input));
    }
    let mean = builder.push("mean", Op::MeanTokens { skip: 0 }, &[normed]);
    builder.linear("classifier", mean);

    Ok(builder.finish_for(task, input))
}

/// timm's `SwinTransformer`: a stage begins with what the last one's tokens become.
fn timm(source: &Source<'_>) -> Result<Graph, GraphError> {
    let blocks = Blocks {
        source,
        names: &OF_TIMM,
        eps: EPS,
        activation: Op::Gelu {},
        shifts_each_axis: true,
    };
    let depths = blocks.depths("layers")?;
    check_window_size(&source.config["model_args"]["window_size"], depths.len())?;

    let input = timm_vit::image(source)?;
    let mut builder = Builder::default();
    let mut x = blocks.patches(&mut builder, "patch_embed.proj", "patch_embed.norm", &input)?;
    for (stage, &depth) in depths.iter().enumerate() {
        let prefix = format!("layers.{stage}");
        if stage > 0 {
            x = merged(&mut builder, &prefix, x);
        }
        x = blocks.stage(&mut builder, &prefix, depth, x)?;
    }

    let normed = builder.layer_norm("norm", EPS, x.at);
    let mean = builder.push("mean", Op::MeanTokens { skip: 0 }, &[normed]);
    builder.linear("head.fc", mean);

    Ok(builder.finish(input))
}

/// The library draws at random what a file lacks of its configuration's blocks, and leaves out what it has more.
fn check_depths(source: &Source<'_>, found: &[usize]) -> Result<(), GraphError> {
    let default = json!([2, 2, 6, 2]);
    let told = match &source.config["depths"] {
        Value::Null => &default,
        told => told,
    };
    if *told == Value::from(found) {
        return Ok(());
    }
    let detail = format!("depths: is {told}, but the file has {found:?} blocks");
    Err(GraphError::Malformed { detail })
}

/// The tables tell the side of windows that are square: no others are read. Two numbers are height and width, as
/// many as there are stages are a side of each.
fn check_window_size(given: &Value, stages: usize) -> Result<(), GraphError> {
    let sides = given.as_array().map_or(&[][..], Vec::as_slice);
    let is_pair = sides.len() == 2 && sides.iter().all(Value::is_u64);
    let of_stages = sides.len() == stages && !is_pair;
    let are_square = match sides {
        [height, width] if is_pair => height == width,
        _ => sides.iter().all(|side| match side.as_array() {
            Some(pair) => pair.iter().all(|one| Some(one) == pair.first()),
            None => side.is_u64(),
        }),
    };
    let is_known = given.is_null() || given.is_u64() || (are_square && (is_pair || of_stages));
    if is_known {
        return Ok(());
    }
    let detail =
        format!("model_args.window_size: {given} is not supported; only windows that are square");
    Err(GraphError::Malformed { detail })
}

fn with_positions(builder: &mut Builder, param: &str, x: Operand) -> Operand {
    let op = Op::PositionEmbedding {
        param: param.to_owned(),
        bare: true,
        offset: 0,
        constant: false,
        padding: None,
        frozen: false,
        resampled: None,
    };
    let places = builder.push(param, op, &[x]);
    builder.add(format!("{param}.sum"), &[x, places])
}

/// Neighbours become one token, behind a norm and a layer of their own.
fn merged(builder: &mut Builder, stage: &str, x: Tokens) -> Tokens {
    let Pair(rows, columns) = x.grid;
    let op = Op::MergeTokens { grid: x.grid };
    let four = builder.push(format!("{stage}.downsample"), op, &[x.at]);
    let normed = builder.layer_norm(&format!("{stage}.downsample.norm"), EPS, four);
    Tokens {
        at: builder.linear(&format!("{stage}.downsample.reduction"), normed),
        grid: Pair(rows.div_ceil(2), columns.div_ceil(2)),
    }
}

impl Blocks<'_> {
    /// Blocks of each stage that the file has.
    fn depths(&self, stages: &str) -> Result<Vec<usize>, GraphError> {
        let table = self.names.bias;
        let depths: Vec<usize> = (0..self.source.signature.len())
            .map(|stage| {
                self.source
                    .depth(&format!("{stages}.{stage}.blocks"), table)
            })
            .take_while(|&depth| depth > 0)
            .collect();
        if depths.is_empty() {
            let node = format!("{stages}.0.blocks.0");
            let tensor = format!("{node}.{table}");
            return Err(GraphError::MissingTensor { tensor, node });
        }
        Ok(depths)
    }

    fn patches(
        &self,
        builder: &mut Builder,
        param: &str,
        norm: &str,
        input: &Input,
    ) -> Result<Tokens, GraphError> {
        let [_, _, height, width] = self.source.shape(&format!("{param}.weight"))?;
        let op = Op::PatchEmbed {
            param: param.to_owned(),
        };
        let x = builder.push(param, op, &[Operand::Input]);
        let size = input.shape();
        Ok(Tokens {
            at: builder.layer_norm(norm, EPS, x),
            grid: Pair(size[1] / height.max(1), size[2] / width.max(1)),
        })
    }

    fn stage(
        &self,
        builder: &mut Builder,
        prefix: &str,
        depth: usize,
        mut x: Tokens,
    ) -> Result<Tokens, GraphError> {
        for number in 0..depth {
            let block = format!("{prefix}.blocks.{number}");
            let heads = self.heads(&block, x.grid, number % 2 == 1)?;
            x.at = self.block(builder, &block, &heads, x.at);
        }
        Ok(x)
    }

    /// Heads and the side of the windows as the table of biases has them.
    fn heads(&self, block: &str, grid: Pair, is_shifted: bool) -> Result<Attending, GraphError> {
        let bias = format!("{block}.{}", self.names.bias);
        let [rows, heads] = self.source.shape(&bias)?;
        let side = rows.isqrt().div_ceil(2);
        if (2 * side).checked_sub(1).map(|once| once * once) != Some(rows) {
            let detail = format!("{bias} has {rows} rows, not those of square windows");
            return Err(GraphError::Malformed { detail });
        }
        let Pair(height, width) = grid;
        if height == 0 || width == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side)
        {
            let detail = format!(
                "window_size: {block} has windows of {side} by {side}, which do not fill its grid of {height} by \
                 {width}; patches that only pad a grid are not supported"
            );
            return Err(GraphError::Malformed { detail });
        }

        let all = if is_shifted { side / 2 } else { 0 };
        let filled = [height == side, width == side];
        let shift = match filled {
            _ if !self.shifts_each_axis && filled.contains(&true) => Pair(0, 0),
            [down, across] => Pair(if down { 0 } else { all }, if across { 0 } else { all }),
        };
        let windows = Windows {
            grid,
            size: Pair(side, side),
            shift,
            bias,
        };

        Ok(Attending {
            windows: Some(windows),
            ..Attending::plain(heads, false)
        })
    }

    fn block(
        &self,
        builder: &mut Builder,
        prefix: &str,
        heads: &Attending,
        input: Operand,
    ) -> Operand {
        let Names {
            norms: [before, behind],
            projections,
            output,
            hidden: [up, down],
            ..
        } = self.names;
        let normed = builder.layer_norm(&format!("{prefix}.{before}"), self.eps, input);
        let projected: Vec<Operand> = projections
            .iter()
            .map(|part| builder.linear(&format!("{prefix}.{part}"), normed))
            .collect();
        let attended = builder.attention(format!("{prefix}.attention"), heads, &projected);
        let attended = builder.linear(&format!("{prefix}.{output}"), attended);
        let x = builder.add(format!("{prefix}.attention.sum"), &[attended, input]);

        let normed = builder.layer_norm(&format!("{prefix}.{behind}"), self.eps, x);
        let wide = builder.linear(&format!("{prefix}.{up}"), normed);
        let wide = builder.push(
            format!("{prefix}.activation"),
            self.activation.clone(),
            &[wide],
        );
        let narrow = builder.linear(&format!("{prefix}.{down}"), wide);

        builder.add(format!("{prefix}.sum"), &[narrow, x])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::Signature;

    /// A configuration that leaves them out has those of the library.
    #[test]
    fn blocks_are_as_many_as_the_configuration_says() {
        let signature = Signature::new();
        let checked = |config: Value, found: &[usize]| {
            let source = Source {
                config: &config,
                signature: &signature,
                sample: None,
            };
            check_depths(&source, found).is_ok()
        };
        assert!(checked(json!({}), &[2, 2, 6, 2]));
        assert!(!checked(json!({}), &[1, 1]));
        assert!(checked(json!({"depths": [1, 1]}), &[1, 1]));
        assert!(!checked(json!({"depths": [1, 2]}), &[1, 1]));
    }

    #[test]
    fn windows_that_are_not_square_are_refused() {
        for square in [json!(null), json!(7), json!([7, 7]), json!([7, 7, 14, 7])] {
            check_window_size(&square, 4).expect("square");
        }
        check_window_size(&json!([[7, 7], 7, [14, 14], 7]), 4).expect("square");
        for other in [
            json!([7, 14]),
            json!([7, 7, 7]),
            json!([[7, 14], 7, 7, 7]),
            json!("7"),
        ] {
            let error = check_window_size(&other, 4).unwrap_err().to_string();
            assert!(error.contains("window_size"), "{error}");
        }
    }
}
