//! `{"config": …, "tensors": {name: shape}}`: a network as data or a known family, and what is
//! derived from it before any tensor is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retune::engine::{network::Graph, symmetry::Symmetry, training::Load, tensors::{DType, Signature, TensorInfo}};
use serde_json::Value;

/// A header proves its shapes by the size of its file; ours has none.
const MOST_VALUES: usize = 1 << 20;

fn signature(tensors: &Value) -> Option<Signature> {
    let tensors = tensors.as_object()?;
    let info = |(name, shape): (&String, &Value)| {
        let size = |size: &Value| size.as_u64().and_then(|size| usize::try_from(size).ok());
        let shape: Option<Vec<usize>> = shape.as_array()?.iter().map(size).collect();
        let shape = shape?;
        let values = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size.max(1)))?;
        (values <= MOST_VALUES).then(|| (name.clone(), TensorInfo { dtype: DType::F32, shape }))
    };
    tensors.iter().map(info).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return };
    let Some(signature) = signature(&document["tensors"]) else { return };
    let Ok(graph) = Graph::from_config(&document["config"], &signature) else { return };
    let again = Graph::from_document(&graph.to_document()).expect("we wrote it");
    assert_eq!(again, graph);
    let Ok(program) = graph.resolve(&signature) else { return };
    let _ = program.classes();
    let _ = Load::of(&program);
    for group in &Symmetry::of(&program).groups {
        assert!(group.units > 0 && !group.members.is_empty());
    }
});
