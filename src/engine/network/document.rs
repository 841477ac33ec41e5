//! The JSON form of a graph (`"model_type": "graph"` in `config.json`).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    error::GraphError,
    graph::{Graph, Input, Node, Operand, Task},
    op::{MAX_EXPERTS, Op},
};

/// The name by which a node reads the sample itself.
const INPUT: &str = "input";
/// The name by which it reads the target sequence.
const TARGET: &str = "target";
/// Nodes a graph may have; far above any real network.
const NODE_LIMIT: usize = 100_000;

#[derive(Deserialize)]
struct Document {
    input: Input,
    #[serde(default)]
    target: Option<[usize; 1]>,
    #[serde(default)]
    task: Task,
    nodes: Vec<Map<String, Value>>,
}

impl Graph {
    /// Reads the graph of a `config.json`; fields beside `input`, `target`, `task` and `nodes` are the
    /// user's own (labels, notes) and are left alone.
    ///
    /// # Errors
    /// Malformed JSON, unknown ops and fields, wiring that does not run forward.
    pub fn from_document(config: &Value) -> Result<Self, GraphError> {
        let malformed = |error: serde_json::Error| GraphError::Malformed {
            detail: error.to_string(),
        };
        let document = Document::deserialize(config).map_err(malformed)?;
        if document.nodes.is_empty() || document.nodes.len() > NODE_LIMIT {
            let detail = format!("nodes: give between 1 and {NODE_LIMIT} nodes");
            return Err(GraphError::Malformed { detail });
        }

        check_target(&document)?;
        let mut ids = HashMap::new();
        let mut nodes = Vec::with_capacity(document.nodes.len());
        for (position, fields) in document.nodes.into_iter().enumerate() {
            let node = read_node(position, fields, &ids)?;
            if [INPUT, TARGET].contains(&node.id.as_str())
                || ids.insert(node.id.clone(), position).is_some()
            {
                let detail = format!(
                    "node {position}: the id {:?} is taken; give it an id",
                    node.id
                );
                return Err(GraphError::Malformed { detail });
            }
            nodes.push(node);
        }

        check_experts(&nodes)?;
        check_target_is_there(document.target, &nodes)?;

        Ok(Self {
            input: document.input,
            target: document.target,
            task: document.task,
            nodes,
        })
    }

    /// The graph as a `config.json`.
    pub fn to_document(&self) -> Value {
        let nodes: Vec<Value> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(position, node)| self.write_node(position, node))
            .collect();
        let mut document =
            json!({"model_type": "graph", "input": self.input, "task": self.task, "nodes": nodes});
        if let Some(target) = self.target {
            document["target"] = json!(target);
        }

        document
    }

    fn write_node(&self, position: usize, node: &Node) -> Value {
        let mut value = json!(node.op);
        if node.id != default_id(position, &node.op) {
            value["id"] = json!(node.id);
        }
        if node.inputs != [previous(position)] {
            value["inputs"] = node
                .inputs
                .iter()
                .map(|operand| self.name_of(*operand))
                .collect();
        }

        value
    }

    fn name_of(&self, operand: Operand) -> &str {
        match operand {
            Operand::Input => INPUT,
            Operand::Target => TARGET,
            Operand::Node(position) => &self.nodes[position].id,
        }
    }
}

/// A target sequence stands with its task alone.
fn check_target(document: &Document) -> Result<(), GraphError> {
    let is_task = document.task == Task::SequenceToSequence;
    let detail = match document.target {
        Some([0]) => "target: give the longest length, above 0",
        None if is_task => {
            "target: the task sequence_to_sequence needs the longest target sequence, [T]"
        }
        Some(_) if !is_task => "target: only the task sequence_to_sequence has target sequences",
        _ => return Ok(()),
    };

    Err(GraphError::Malformed {
        detail: detail.to_owned(),
    })
}

/// Refuses nodes that read a target sequence where there is none.
fn check_target_is_there(target: Option<[usize; 1]>, nodes: &[Node]) -> Result<(), GraphError> {
    let reader = nodes
        .iter()
        .find(|node| target.is_none() && node.inputs.contains(&Operand::Target));
    let Some(reader) = reader else { return Ok(()) };
    let detail = format!(
        "node {:?} reads \"target\", and there is no target",
        reader.id
    );
    Err(GraphError::Malformed { detail })
}

/// Refuses more experts than layers have, and more of all layers than a graph has nodes.
fn check_experts(nodes: &[Node]) -> Result<(), GraphError> {
    let counts = nodes.iter().filter_map(|node| match node.op {
        Op::Experts { count, .. } => Some(count),
        _ => None,
    });
    let (mut most, mut all) = (0, 0usize);
    for count in counts {
        most = count.max(most);
        all = all.saturating_add(count);
    }
    if most > MAX_EXPERTS || all > NODE_LIMIT {
        let detail = format!(
            "nodes: give at most {MAX_EXPERTS} experts to a layer, and {NODE_LIMIT} to all together"
        );
        return Err(GraphError::Malformed { detail });
    }

    Ok(())
}

fn default_id(position: usize, op: &Op) -> String {
    op.param()
        .map_or_else(|| position.to_string(), str::to_owned)
}

fn previous(position: usize) -> Operand {
    position
        .checked_sub(1)
        .map_or(Operand::Input, Operand::Node)
}

fn read_node(
    position: usize,
    mut fields: Map<String, Value>,
    ids: &HashMap<String, usize>,
) -> Result<Node, GraphError> {
    let malformed = |detail: String| GraphError::Malformed {
        detail: format!("node {position}: {detail}"),
    };
    let id: Option<String> = take(&mut fields, "id").map_err(malformed)?;
    let inputs: Option<Vec<String>> = take(&mut fields, "inputs").map_err(malformed)?;
    if let Some(Value::String(op)) = fields.get("op")
        && !Op::NAMES.contains(&op.as_str())
    {
        let (op, known) = (op.clone(), Op::NAMES.join(", "));
        return Err(GraphError::UnknownOp {
            node: position,
            op,
            known,
        });
    }

    let op: Op =
        serde_json::from_value(Value::Object(fields)).map_err(|e| malformed(e.to_string()))?;

    let inputs = match inputs {
        None => vec![previous(position)],
        Some(names) => names
            .iter()
            .map(|name| match ids.get(name) {
                _ if name == INPUT => Ok(Operand::Input),
                _ if name == TARGET => Ok(Operand::Target),
                Some(&i) => Ok(Operand::Node(i)),
                None => Err(malformed(format!(
                    "reads {name:?}, but no node before it has that id"
                ))),
            })
            .collect::<Result<_, _>>()?,
    };

    Ok(Node {
        id: id.unwrap_or_else(|| default_id(position, &op)),
        op,
        inputs,
    })
}

fn take<T: serde::de::DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<T>, String> {
    fields
        .remove(name)
        .map(|value| serde_json::from_value(value).map_err(|e| format!("{name}: {e}")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_contract_is_read_and_written_back() {
        let config = json!({"model_type":"graph","input":{"kind":"features","shape":[784]},"task":"classification",
            "nodes":[{"op":"linear","param":"fc1"},{"op":"relu"},{"op":"linear","param":"fc2"}]});
        let graph = Graph::from_document(&config).unwrap();
        assert_eq!(graph.nodes[2].inputs, [Operand::Node(1)]);
        assert_eq!(
            graph.learned(),
            ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
        );
        assert_eq!(graph.head(), Some("fc2"));
        assert_eq!(graph.to_document(), config);
    }

    #[test]
    fn faults_are_named() {
        let read = |nodes: Value| {
            Graph::from_document(&json!({"input":{"kind":"features","shape":[4]},"nodes":nodes}))
                .unwrap_err()
        };
        assert_eq!(read(json!([{"op":"lstm"}])).code(), "unknown_op");
        assert_eq!(read(json!([])).code(), "malformed_config");
        assert_eq!(
            read(json!([{"op":"relu","inputs":["later"]},{"op":"relu","id":"later"}])).code(),
            "malformed_config"
        );
        assert_eq!(
            read(json!([{"op":"relu","slope":1}])).code(),
            "malformed_config"
        );

        assert_eq!(
            read(json!([{"op":"relu","id":"a"},{"op":"relu","id":"a"}])).code(),
            "malformed_config"
        );
    }

    #[test]
    fn a_target_sequence_is_read_and_written_back() {
        let document = |task: &str, target: Value, read: &str| {
            json!({"model_type": "graph", "input": {"kind": "tokens", "shape": [4]}, "task": task,
                "target": target, "nodes": [{"op": "embedding", "param": "e", "inputs": [read]}]})
        };
        let config = document("sequence_to_sequence", json!([3]), "target");
        let graph = Graph::from_document(&config).unwrap();
        assert_eq!(
            (graph.target, graph.nodes[0].inputs[0]),
            (Some([3]), Operand::Target)
        );
        assert_eq!(graph.to_document(), config);

        for (task, target, read) in [
            ("sequence_to_sequence", json!(null), "input"),
            ("sequence_to_sequence", json!([0]), "target"),
            ("next_token", json!([3]), "input"),
            ("next_token", json!(null), "target"),
        ] {
            let refused = Graph::from_document(&document(task, target, read)).unwrap_err();
            assert_eq!(refused.code(), "malformed_config", "{task} {read}");
        }
    }

    #[test]
    fn a_number_of_experts_asks_for_no_memory() {
        let read = |count: u64| {
            Graph::from_document(
                &json!({"input": {"kind": "tokens", "shape": [4]}, "nodes": [
                {"op": "embedding", "param": "e"}, {"op": "linear", "param": "r"},
                {"op": "experts", "param": "m", "count": count, "top_k": 1, "inputs": ["e", "r"]}]}),
            )
        };
        assert_eq!(
            read(4096).expect("as many as may be").params().count(),
            2 + 1 + 6 * 4096
        );

        assert_eq!(read(4097).unwrap_err().code(), "malformed_config");
    }
}
