//! Two questions about one model: how good it is, and which of its axes are permuted together.

use serde_json::{Value, json};

use super::{
    device::{checked_device, learner},
    failure::{self, Failure, Field},
    inputs::{Stated, read},
    meter,
};
use crate::{
    artifacts::{
        Access,
        dataset::{self, Reading},
        tensors::InputChanged,
    },
    contract::{codes::FailureCode, spec::Preprocess},
    engine::{
        network::{Graph, Task, is_of_a_task},
        profiler::Profiler,
        symmetry::{Group, Member, Runs, Symmetry},
        training::{DataFault, Dataset},
        transfer::STATISTICS_SAMPLES,
    },
    storage::Storage,
};

/// The permutation groups of a model, from its headers, as JSON (`retune symmetry`). A group that orders
/// experts has their tensors beside its members: a list for each unit. One whose units permute inside a convolution's
/// groups has the weights beside its members whose second axis follows them, block by block.
///
/// # Errors
/// What is wrong with the model.
pub fn groups(storage: &Storage, model_uri: &str) -> Result<Value, Failure> {
    let (folder, mut signature) = read::headers(storage, "", model_uri)?;
    let graph = read::graph("", &folder, &signature, None)?;
    signature.retain(|name, _| !is_of_pretraining(&graph, &folder.config, name));
    let symmetry = Symmetry::derive(&graph, &signature).map_err(failure::graph("", model_uri))?;
    let mut groups: Vec<Value> = symmetry.groups.iter().map(group).collect();
    for experts in &symmetry.experts {
        groups[experts.order]["experts"] = json!(experts.tensors);
    }
    for (name, weight) in symmetry.grouped_weights() {
        let inside = json!({"tensor": name, "axis": 1, "blocks": weight.blocks});
        match groups[weight.inputs]["inside"].as_array_mut() {
            Some(known) => known.push(inside),
            None => groups[weight.inputs]["inside"] = json!([inside]),
        }
    }
    Ok(groups.into())
}

fn group(group: &Group) -> Value {
    let members: Vec<Value> = group.members.iter().map(member).collect();
    json!({"name": group.name, "units": group.units, "members": members})
}

fn member(member: &Member) -> Value {
    let Member {
        tensor,
        axis,
        start,
        repeat,
        share,
        runs,
        ..
    } = member;
    let mut value = json!({"tensor": tensor, "axis": axis, "start": start, "repeat": repeat});
    if *share > 1 {
        value["share"] = json!(share);
    }

    if let Some(Runs { units, period }) = runs {
        value["runs"] = json!({"units": units, "period": period});
    }

    value
}

/// Loss and accuracy of a model as it is, of a regression R², as JSON (`retune evaluate`). With `train`, batch-norm
/// statistics are re-estimated on it first.
///
/// # Errors
/// What is wrong with the model or the data.
pub fn evaluate(
    access: Access,
    model_uri: &str,
    data_uri: &str,
    preprocess: Option<&Preprocess>,
    train_uri: Option<&str>,
) -> Result<Value, Failure> {
    let storage = access.storage.watching();
    let access = Access {
        storage: &storage,
        ..access
    };
    let measured =
        InputChanged::catch(|| measured(access, model_uri, data_uri, preprocess, train_uri));
    let found = measured.unwrap_or_else(|changed| {
        let data = [Some(data_uri), train_uri].into_iter().flatten();
        let fields: Vec<Field> = data
            .map(|uri| Field {
                pointer: "/data",
                uri,
            })
            .collect();
        Err(failure::lost(&fields, changed))
    })?;

    // Figures of a mixture of two models are none.
    storage
        .check_unchanged()
        .map_err(|error| failure::at("")(error.into()))?;

    Ok(found)
}

fn measured(
    access: Access,
    model_uri: &str,
    data_uri: &str,
    preprocess: Option<&Preprocess>,
    train_uri: Option<&str>,
) -> Result<Value, Failure> {
    let (mut model, _) = read::model(access, "", model_uri, &mut Vec::new())?;
    let all = model.checkpoint.signature();
    let of_its_own_size = read::graph("", &model.folder, &all, None)?;
    for name in all.keys() {
        if is_of_pretraining(&of_its_own_size, &model.folder.config, name) {
            model.checkpoint.remove(name);
        }
    }
    let signature = model.checkpoint.signature();
    of_its_own_size
        .check_wired()
        .map_err(failure::graph("", model_uri))?;
    let stated = match preprocess {
        Some(_) => None,
        None => Stated::of(access.storage, "", (&model.folder).into())?,
    };

    let reading = Reading {
        preprocess,
        stated: stated.as_ref().map(|stated| &stated.values),
        channels: read::channels(&of_its_own_size),
        labels: of_its_own_size.task.into(),
    };

    let data = samples(access, data_uri, reading)?;
    let graph = read::graph("", &model.folder, &signature, Some(data.size()))?;
    checked_device()?;
    let learner = learner(&graph, &signature).map_err(failure::graph("", model_uri))?;
    learner.check(&data).map_err(refused)?;

    let mut checkpoint = model.checkpoint;
    if let Some(train) = train_uri
        .map(|uri| samples(access, uri, reading))
        .transpose()?
    {
        learner.check(&train).map_err(refused)?;
        checkpoint = learner.with_statistics(&checkpoint, &train, STATISTICS_SAMPLES, 128);
    }

    let profiler = Profiler::new(meter::now);
    let start = profiler.now();
    let found = learner.evaluate(&checkpoint, &data);
    failure::check_loss(found.loss)?;

    let measure = if graph.task == Task::Regression {
        "r2"
    } else {
        "accuracy"
    };

    Ok(
        json!({measure: found.accuracy, "loss": found.loss, "samples": data.len(),
              "seconds": profiler.now() - start}),
    )
}

/// Whether a tensor is of another head of the pre-training, beside that of words: published models have both, and
/// the library's language model reads the one.
fn is_of_pretraining(graph: &Graph, config: &Value, name: &str) -> bool {
    graph.task == Task::MaskedToken
        && is_of_a_task(config, None, name)
        && !graph.params().any(|(_, param)| param.name == name)
}

fn samples(access: Access, uri: &str, reading: Reading) -> Result<Dataset, Failure> {
    let place = read::location(access.storage, "/data", uri)?;
    let read = dataset::read(&access, &place, reading).map_err(failure::at("/data"))?;
    Ok(read.0)
}

fn refused(fault: DataFault) -> Failure {
    Failure::Input {
        code: FailureCode::from(&fault),
        pointer: Some("/data".into()),
        detail: fault.to_string(),
    }
}
