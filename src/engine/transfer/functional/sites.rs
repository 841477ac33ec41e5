//! Which layers are fitted, and where what they do is looked at. It follows from the graph alone.

use serde::Serialize;

use crate::network::{Graph, Op, Operand};

/// A layer that is fitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The linear layer or convolution, by its position.
    pub layer: usize,
    /// The nodes from the layer to its point, both included: a batch norm, layer scales, a residual
    /// sum.
    pub path: Vec<usize>,
}

impl Site {
    /// The node whose output is compared: the layer's own, behind its scales and in the residual sum
    /// that it enters.
    pub fn point(&self) -> usize {
        self.path.last().copied().unwrap_or(self.layer)
    }
}

/// Which layers are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The output layer alone.
    Head,
    /// What writes onto a residual stream, what stands behind the last of its sums, and every layer
    /// of a network without one.
    Writers,
    /// Every layer but those whose output attention reads.
    Outside,
    /// Every layer.
    Every,
}

impl Rule {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Writers => "writers",
            Self::Outside => "outside",
            Self::Every => "every",
        }
    }
}

/// The fitted layers in the order of their points.
pub fn sites(graph: &Graph, rule: Rule) -> Vec<Site> {
    let readers = Readers::of(graph);
    let last_sum = graph
        .nodes
        .iter()
        .rposition(|node| is_sum(graph, &node.op, &node.inputs));
    let head = graph.nodes.iter().rposition(|node| is_layer(&node.op));

    let mut found: Vec<Site> = (0..graph.nodes.len())
        .filter(|&layer| is_layer(&graph.nodes[layer].op))
        .map(|layer| readers.site(graph, layer))
        .filter(|site| match rule {
            Rule::Head => Some(site.layer) == head,
            Rule::Writers => {
                last_sum.is_none_or(|sum| site.layer > sum || readers.writes(graph, site))
            }
            Rule::Outside => !readers.feeds_attention(graph, site),
            Rule::Every => true,
        })
        .filter(|site| !is_tied(graph, site.layer) && !readers.routes(graph, site.layer))
        .filter(|site| !is_of_a_table(graph, site.layer))
        .collect();
    found.sort_by_key(|site| (site.point(), site.layer));
    found
}

fn is_layer(op: &Op) -> bool {
    matches!(op, Op::Linear { .. } | Op::Conv2d { .. })
}

/// A residual sum: a table of positions is added to the embedding, but no layer writes there.
fn is_sum(graph: &Graph, op: &Op, inputs: &[Operand]) -> bool {
    matches!(op, Op::Add {})
        && inputs
            .iter()
            .any(|&operand| has_layer_before(graph, operand))
}

/// Whether a layer stands before an operand.
fn has_layer_before(graph: &Graph, operand: Operand) -> bool {
    let Operand::Node(position) = operand else {
        return false;
    };

    let node = &graph.nodes[position];
    is_layer(&node.op)
        || node
            .inputs
            .iter()
            .any(|&input| has_layer_before(graph, input))
}

/// The nodes that read each node's output.
struct Readers(Vec<Vec<usize>>);

impl Readers {
    fn of(graph: &Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.nodes.len()];
        for (position, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                if let Operand::Node(read) = input {
                    readers[*read].push(position);
                }
            }
        }

        Self(readers)
    }

    /// The only reader of a node.
    fn only(&self, position: usize) -> Option<usize> {
        match self.0[position][..] {
            [reader] => Some(reader),
            _ => None,
        }
    }

    fn site(&self, graph: &Graph, layer: usize) -> Site {
        let mut path = vec![layer];
        let mut at = layer;
        while let Some(reader) = self.only(at) {
            let is_first = path.len() == 1;
            match &graph.nodes[reader].op {
                Op::BatchNorm { .. } if is_first => {}
                Op::LayerScale { .. } | Op::Scale { .. } | Op::Dropout { .. } => {}
                // The sum is the last: what comes after it is others' too.
                Op::Add {} => {
                    path.push(reader);
                    break;
                }
                _ => break,
            }
            path.push(reader);
            at = reader;
        }

        Site { layer, path }
    }

    /// Whether a layer writes into a residual sum, behind a norm of its own or not.
    fn writes(&self, graph: &Graph, site: &Site) -> bool {
        let point = &graph.nodes[site.point()];
        if is_sum(graph, &point.op, &point.inputs) {
            return true;
        }
        self.behind_norms(graph, site)
            .any(|reader| matches!(graph.nodes[reader].op, Op::Add {}))
    }

    /// Whether experts read a layer as their router: what it decides is no sum that a fit could make good.
    fn routes(&self, graph: &Graph, layer: usize) -> bool {
        self.0[layer].iter().any(|&reader| {
            let node = &graph.nodes[reader];
            let is_router = node.inputs.get(1) == Some(&Operand::Node(layer));
            matches!(node.op, Op::Experts { .. }) && is_router
        })
    }

    fn feeds_attention(&self, graph: &Graph, site: &Site) -> bool {
        let direct = self.0[site.point()].iter().copied();
        direct
            .chain(self.behind_norms(graph, site))
            .any(|reader| matches!(graph.nodes[reader].op, Op::Attention { .. }))
    }

    /// Who reads the norms over channels that read a layer's point: of queries and keys, or before a sum.
    fn behind_norms(&self, graph: &Graph, site: &Site) -> impl Iterator<Item = usize> {
        let norms = self.0[site.point()].iter().filter(|reader| {
            matches!(
                graph.nodes[**reader].op,
                Op::RmsNorm { .. } | Op::LayerNorm { .. }
            )
        });
        norms
            .flat_map(|&norm| self.0[norm].iter().copied())
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Whether a node reads a table, behind norms or not: no sample says anything of it.
fn is_of_a_table(graph: &Graph, position: usize) -> bool {
    let Some(&Operand::Node(read)) = graph.nodes[position].inputs.first() else {
        return false;
    };
    match graph.nodes[read].op {
        Op::Table { .. } => true,
        Op::LayerNorm { .. } | Op::RmsNorm { .. } => is_of_a_table(graph, read),
        _ => false,
    }
}

/// Whether another node reads the layer's tensors.
fn is_tied(graph: &Graph, layer: usize) -> bool {
    let param = graph.nodes[layer].op.param();
    graph
        .nodes
        .iter()
        .filter(|node| node.op.param() == param)
        .count()
        > 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(nodes: serde_json::Value) -> Graph {
        let config = json!({"input": {"kind": "image", "shape": [3, 8, 8]}, "nodes": nodes});
        Graph::from_document(&config).unwrap()
    }

    fn found(graph: &Graph, rule: Rule) -> Vec<(usize, usize)> {
        sites(graph, rule)
            .iter()
            .map(|site| (site.layer, site.point()))
            .collect()
    }

    #[test]
    fn of_a_chain_every_layer_behind_its_norm() {
        let graph = image(json!([
            {"op": "conv2d", "param": "a"}, {"op": "batch_norm", "param": "n"}, {"op": "relu"},
            {"op": "flatten"}, {"op": "linear", "param": "fc"}]));
        assert_eq!(found(&graph, Rule::Every), [(0, 1), (4, 4)]);
        assert_eq!(found(&graph, Rule::Writers), [(0, 1), (4, 4)]);
        assert_eq!(found(&graph, Rule::Head), [(4, 4)]);
    }

    #[test]
    fn what_reads_a_table_is_not_fitted() {
        let nodes = json!([
            {"op": "embedding", "param": "e"}, {"op": "table", "param": "t", "inputs": ["input"]},
            {"op": "layer_norm", "param": "n"}, {"op": "linear", "param": "k", "id": "p"},
            {"op": "linear", "param": "q", "inputs": ["e"]}, {"op": "linear", "param": "k", "inputs": ["e"], "id": "keys"},
            {"op": "linear", "param": "own", "inputs": ["n"]}, {"op": "linear", "param": "v", "inputs": ["e"]}]);
        let input = json!({"kind": "tokens", "shape": [4]});
        let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
        assert_eq!(found(&graph, Rule::Every), [(4, 4), (7, 7)]);
    }

    #[test]
    fn what_writes_onto_a_stream_is_looked_at_in_the_sum() {
        let graph = image(json!([
            {"op": "conv2d", "param": "stem", "id": "x"},
            {"op": "conv2d", "param": "a"}, {"op": "batch_norm", "param": "an"}, {"op": "relu"},
            {"op": "conv2d", "param": "b"}, {"op": "batch_norm", "param": "bn", "id": "y"},
            {"op": "conv2d", "param": "down", "inputs": ["x"], "id": "z"},
            {"op": "add", "inputs": ["y", "z"]}, {"op": "relu"},
            {"op": "global_avg_pool"}, {"op": "linear", "param": "fc"}]));
        // Two write into the sum; the stem is read by two, so its point is its own output.
        assert_eq!(
            found(&graph, Rule::Every),
            [(0, 0), (1, 2), (4, 7), (6, 7), (10, 10)]
        );
        assert_eq!(found(&graph, Rule::Writers), [(4, 7), (6, 7), (10, 10)]);
    }

    /// Norms of queries and keys, and behind the blocks: a layer is looked at before its norm.
    #[test]
    fn a_norm_may_stand_before_attention_or_a_sum() {
        let config = json!({"input": {"kind": "tokens", "shape": [4]}, "nodes": [
            {"op": "embedding", "param": "e"}, {"op": "linear", "param": "q"},
            {"op": "rms_norm", "param": "qn"}, {"op": "linear", "param": "k", "inputs": ["e"]},
            {"op": "linear", "param": "v", "inputs": ["e"]},
            {"op": "attention", "heads": 2, "inputs": ["qn", "k", "v"], "id": "at"},
            {"op": "linear", "param": "o"}, {"op": "rms_norm", "param": "n"},
            {"op": "add", "inputs": ["n", "e"], "id": "x"}, {"op": "linear", "param": "up"},
            {"op": "silu"}, {"op": "linear", "param": "down"}, {"op": "scale", "factor": 0.5, "id": "s"},
            {"op": "add", "inputs": ["s", "x"]},
            {"op": "select_token"}, {"op": "linear", "param": "fc"}]});
        let graph = Graph::from_document(&config).unwrap();
        assert_eq!(
            found(&graph, Rule::Outside),
            [(6, 6), (9, 9), (11, 13), (15, 15)]
        );
        assert_eq!(found(&graph, Rule::Writers), [(6, 6), (11, 13), (15, 15)]);
    }

    /// Neither experts nor their router; the layers beside them are.
    #[test]
    fn experts_and_their_router_are_left_alone() {
        let config = json!({"input": {"kind": "tokens", "shape": [4]}, "nodes": [
            {"op": "embedding", "param": "e"}, {"op": "linear", "param": "a"},
            {"op": "add", "inputs": ["a", "e"], "id": "x"}, {"op": "linear", "param": "router"},
            {"op": "experts", "param": "m", "count": 4, "top_k": 2, "inputs": ["x", "router"]},
            {"op": "add", "inputs": ["m", "x"]}, {"op": "select_token"},
            {"op": "linear", "param": "fc"}]});
        let graph = Graph::from_document(&config).unwrap();
        for rule in [Rule::Every, Rule::Outside, Rule::Writers] {
            assert_eq!(found(&graph, rule), [(1, 2), (7, 7)], "{rule:?}");
        }
    }

    #[test]
    fn what_another_node_reads_too_is_left_alone() {
        let config = json!({"input": {"kind": "tokens", "shape": [4]}, "task": "next_token", "nodes": [
            {"op": "embedding", "param": "e"}, {"op": "linear", "param": "q"},
            {"op": "linear", "param": "k", "inputs": ["e"]}, {"op": "linear", "param": "v", "inputs": ["e"]},
            {"op": "attention", "heads": 2, "inputs": ["q", "k", "v"], "id": "at"},
            {"op": "linear", "param": "o"}, {"op": "add", "inputs": ["o", "e"]},
            {"op": "linear", "param": "e", "id": "out"}]});
        let graph = Graph::from_document(&config).unwrap();
        assert_eq!(found(&graph, Rule::Every), [(1, 1), (2, 2), (3, 3), (5, 6)]);
        assert_eq!(found(&graph, Rule::Outside), [(5, 6)]);
        assert_eq!(found(&graph, Rule::Head), []);
    }
}
