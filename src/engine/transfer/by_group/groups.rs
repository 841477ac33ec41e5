//! Which tensors share an α: kinds of layers by thirds of the depth, or in a network without attention the
//! layers themselves.

use crate::{
    network::{Graph, Op, Operand, Role},
    tensors::Checkpoint,
};

/// Groups of a network without attention, at most; neighbours share one where there are more layers.
const MOST: usize = 16;
/// Parts of the depth.
const PARTS: usize = 3;

/// Tensors that share an α.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlphaGroup {
    pub name: String,
    pub params: Vec<String>,
}

impl AlphaGroup {
    /// Without tensors that only the one has, or that the update leaves as they are.
    pub(super) fn keep_moved(&mut self, base: &Checkpoint, carried: &Checkpoint) {
        self.params
            .retain(|name| match (base.get(name), carried.get(name)) {
                (Some(base), Some(carried)) => {
                    base.shape() == carried.shape() && !base.same_values(carried)
                }
                _ => false,
            });
    }
}

/// The groups of a graph's learned tensors, in graph order; each tensor is in one.
pub fn of(graph: &Graph) -> Vec<AlphaGroup> {
    let mut names = Names::default();
    if positions(graph, |op| matches!(op, Op::Attention { .. })).is_empty() {
        layers(graph, &mut names);
        return names.groups;
    }

    let depth = Depth::of(graph);
    for (position, param) in graph
        .params()
        .filter(|(_, param)| param.role == Role::Learned)
    {
        let part = depth.part(position);
        let name = match kind(graph, position) {
            Kind::Head => "head".to_owned(),
            Kind::Embeddings => "embeddings".to_owned(),
            kind => format!("{} {part}/{PARTS}", kind.name()),
        };
        names.put(&name, param.name);
    }

    names.groups
}

/// What a layer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Attention,
    Mlp,
    Norms,
    Embeddings,
    Head,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Norms => "norms",
            Self::Embeddings => "embeddings",
            Self::Head => "head",
        }
    }
}

fn kind(graph: &Graph, position: usize) -> Kind {
    let node = &graph.nodes[position];

    match node.op {
        Op::Embedding { .. }
        | Op::PositionEmbedding { .. }
        | Op::TokenTypeEmbedding { .. }
        | Op::Table { .. }
        | Op::ClassToken { .. }
        | Op::PatchEmbed { .. } => Kind::Embeddings,
        _ if node.op.param() == graph.head() => Kind::Head,
        Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::GroupNorm { .. }
        | Op::GlobalResponseNorm { .. }
        | Op::BatchNorm { .. }
        | Op::LayerScale { .. }
        // Its only tensors are those of its norms, sinks, and biases of positions.
        | Op::Attention { .. } => Kind::Norms,
        _ if is_of_attention(graph, position) => Kind::Attention,
        _ => Kind::Mlp,
    }
}

/// An attention reads it, behind a norm or not, or it reads an attention.
fn is_of_attention(graph: &Graph, position: usize) -> bool {
    let is_read = graph.nodes.iter().any(|node| {
        matches!(node.op, Op::Attention { .. })
            && node
                .inputs
                .iter()
                .any(|read| comes_from(graph, *read, position))
    });
    let reads = graph.nodes[position]
        .inputs
        .iter()
        .any(|operand| match *operand {
            Operand::Node(at) => matches!(graph.nodes[at].op, Op::Attention { .. }),
            Operand::Input | Operand::Target => false,
        });

    is_read || reads
}

/// Whether an operand is what a node puts out, or the norm of it.
fn comes_from(graph: &Graph, operand: Operand, position: usize) -> bool {
    match operand {
        Operand::Node(at) if matches!(graph.nodes[at].op, Op::RmsNorm { .. }) => {
            graph.nodes[at].inputs.contains(&Operand::Node(position))
        }
        operand => operand == Operand::Node(position),
    }
}

/// The layers between embeddings and head.
struct Depth {
    first: usize,
    end: usize,
}

impl Depth {
    fn of(graph: &Graph) -> Self {
        let with_params: Vec<usize> = positions(graph, |op| op.param().is_some());
        let mut inner = with_params
            .into_iter()
            .filter(|&at| !matches!(kind(graph, at), Kind::Embeddings | Kind::Head));
        let first = inner.next().unwrap_or(0);
        Self {
            first,
            end: inner.next_back().unwrap_or(first) + 1,
        }
    }

    /// The part of the depth, from 1.
    fn part(&self, position: usize) -> usize {
        let (before, all) = (position.saturating_sub(self.first), self.end - self.first);
        (before * PARTS / all).min(PARTS - 1) + 1
    }
}

fn positions(graph: &Graph, is: impl Fn(&Op) -> bool) -> Vec<usize> {
    (0..graph.nodes.len())
        .filter(|&at| is(&graph.nodes[at].op))
        .collect()
}

/// Every layer with the norm behind it, or so many neighbours together that there are no more than
/// [`MOST`] groups.
fn layers(graph: &Graph, names: &mut Names) {
    let weights = positions(graph, |op| {
        op.param().is_some() && !matches!(op, Op::BatchNorm { .. } | Op::LayerNorm { .. })
    });
    let together = weights.len().div_ceil(MOST).max(1);
    for (position, param) in graph
        .params()
        .filter(|(_, param)| param.role == Role::Learned)
    {
        let before = weights.iter().filter(|&&weight| weight <= position).count();
        let first = before.saturating_sub(1) / together * together;
        let last = (first + together).min(weights.len()).saturating_sub(1);
        let [first, last] = [first, last].map(|at| {
            let node = weights.get(at).map(|&position| &graph.nodes[position]);
            node.and_then(|node| node.op.param())
                .unwrap_or("layers")
                .to_owned()
        });
        let name = if first == last {
            first
        } else {
            format!("{first} to {last}")
        };
        names.put(&name, param.name);
    }
}

/// Groups by name, each tensor in the first that reads it.
#[derive(Default)]
struct Names {
    groups: Vec<AlphaGroup>,
}

impl Names {
    fn put(&mut self, name: &str, param: String) {
        if self
            .groups
            .iter()
            .any(|group| group.params.contains(&param))
        {
            return;
        }

        match self.groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.params.push(param),
            None => {
                self.groups.push(AlphaGroup {
                    name: name.to_owned(),
                    params: vec![param],
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::training::testing;

    #[test]
    fn a_chain_has_a_group_a_layer_with_its_norm() {
        let nodes = json!([{"op": "conv2d", "param": "c"}, {"op": "batch_norm", "param": "n"},
            {"op": "relu"}, {"op": "global_avg_pool"}, {"op": "linear", "param": "fc"}]);
        let groups = of(&testing::graph(&[3, 8, 8], nodes));
        let expected = [
            ("c", vec!["c.weight", "c.bias", "n.weight", "n.bias"]),
            ("fc", vec!["fc.weight", "fc.bias"]),
        ];
        let found: Vec<(&str, Vec<&str>)> = groups
            .iter()
            .map(|g| {
                (
                    g.name.as_str(),
                    g.params.iter().map(String::as_str).collect(),
                )
            })
            .collect();

        assert_eq!(found, expected);
    }

    #[test]
    fn many_layers_share_an_alpha_with_their_neighbours() {
        let layers: Vec<_> = (0..40)
            .map(|i| json!({"op": "linear", "param": format!("l{i}")}))
            .collect();
        let groups = of(&testing::graph(&[4], json!(layers)));
        assert_eq!(groups.len(), 14);
        assert_eq!(groups[0].name, "l0 to l2");
        assert_eq!(
            groups.iter().map(|group| group.params.len()).sum::<usize>(),
            80
        );
    }

    #[test]
    fn a_transformer_has_kinds_by_thirds_and_a_tied_tensor_once() {
        let mut nodes = vec![json!({"op": "embedding", "param": "e", "id": "x0"})];
        for block in 0..3 {
            let name = |part: &str| format!("{part}{block}");
            let stream = format!("x{block}");
            nodes.extend([
                json!({"op": "rms_norm", "param": name("n"), "id": name("n"), "inputs": [stream]}),
                json!({"op": "linear", "param": name("qkv"), "id": name("qkv")}),
                json!({"op": "attention", "heads": 2, "causal": true, "id": name("att")}),
                json!({"op": "linear", "param": name("o"), "id": name("o")}),
                json!({"op": "add", "inputs": [name("o"), stream], "id": name("mid")}),
                json!({"op": "linear", "param": name("up"), "id": name("up")}),
                json!({"op": "relu"}),
                json!({"op": "linear", "param": name("down"), "id": name("down")}),
                json!({"op": "add", "inputs": [name("down"), name("mid")], "id": format!("x{}", block + 1)}),
            ]);
        }
        nodes.push(json!({"op": "linear", "param": "e", "id": "out"}));
        let groups = of(&testing::token_graph(4, json!(nodes)));
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        let expected = [
            "embeddings",
            "norms 1/3",
            "attention 1/3",
            "mlp 1/3",
            "norms 2/3",
            "attention 2/3",
            "mlp 2/3",
            "norms 3/3",
            "attention 3/3",
            "mlp 3/3",
            "head",
        ];
        assert_eq!(names, expected);
        assert_eq!(
            (&groups[0].params[..], &groups[10].params[..]),
            (&["e.weight".to_owned()][..], &["e.bias".to_owned()][..])
        );

        assert_eq!(groups[2].params.len(), 4);
    }
}
