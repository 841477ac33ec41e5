//! One model at a location: its folder, its tensors under the names of its graph, its graph.

use crate::{
    artifacts::{Access, ArtifactError, InputFile, Model, ModelFolder, tensors},
    contract::codes::FailureCode,
    engine::{
        network::{Graph, Input, Naming, SampleSize},
        tensors::Signature,
    },
    pipeline::failure::{self, Failure},
    storage::{Location, Storage},
};

/// A location of the specification that is read from, if it may be used; of a repository at the commit that its
/// revision is now.
pub fn location(storage: &Storage, pointer: &str, text: &str) -> Result<Location, Failure> {
    let named = storage
        .check_location(text)
        .map_err(|error| failure::location(pointer, &error))?;
    storage
        .blocking()
        .pin(&named)
        .map_err(|error| failure::at(pointer)(error.into()))
}

/// A model under the names of its graph, and how its file calls them.
pub fn model(
    access: Access,
    pointer: &str,
    text: &str,
    files: &mut Vec<InputFile>,
) -> Result<(Model, Naming), Failure> {
    model_at(
        access,
        pointer,
        &location(access.storage, pointer, text)?,
        files,
    )
}

/// The same of a location that has been checked: the path of one may hold what a URI may not.
pub fn model_at(
    access: Access,
    pointer: &str,
    place: &Location,
    files: &mut Vec<InputFile>,
) -> Result<(Model, Naming), Failure> {
    let (model, naming) = open(access, place).map_err(failure::at(pointer))?;
    files.extend(model.inputs.iter().cloned());
    Ok((model, naming))
}

fn open(access: Access, place: &Location) -> Result<(Model, Naming), ArtifactError> {
    let mut model = ModelFolder::look(access.storage.blocking(), place)?.open(&access)?;
    tensors::check_finite(&model.checkpoint, place)?;

    let naming = Naming::of(&model.folder.config, &model.checkpoint.signature());
    if let Some(copy) = naming.untied(&model.checkpoint) {
        let detail = "config.json ties it to the embedding, but their values differ";
        return Err(ArtifactError::tensor(
            FailureCode::MalformedConfig,
            place,
            copy,
            detail,
        ));
    }

    model.checkpoint = naming.read(&model.checkpoint);

    Ok((model, naming))
}

/// The graph of a model folder. A known family reads images of any size and sentences up to its
/// longest; a graph as data says itself what it reads.
pub fn graph(
    pointer: &str,
    folder: &ModelFolder,
    signature: &Signature,
    sample: Option<SampleSize<'_>>,
) -> Result<Graph, Failure> {
    let fault = failure::graph(pointer, &folder.location.to_string());
    let of_its_own_size = Graph::from_config(&folder.config, signature).map_err(&fault)?;
    let Some(sample) = sample else {
        return Ok(of_its_own_size);
    };

    // Where the network does not read such samples, it says so itself when the data are checked.
    let sized = Graph::for_samples(&folder.config, signature, sample);

    Ok(sized
        .ok()
        .filter(|graph| graph.resolve(signature).is_ok())
        .unwrap_or(of_its_own_size))
}

/// Channels of the images that a network reads.
pub fn channels(graph: &Graph) -> Option<usize> {
    match graph.input {
        Input::Image {
            shape: [channels, ..],
        } => Some(channels),
        _ => None,
    }
}

/// A model's folder and the headers of its tensors, under the names of its graph.
pub fn headers(
    storage: &Storage,
    pointer: &str,
    text: &str,
) -> Result<(ModelFolder, Signature), Failure> {
    headers_at(storage, pointer, &location(storage, pointer, text)?)
}

/// The same of a location that has been checked.
pub fn headers_at(
    storage: &Storage,
    pointer: &str,
    place: &Location,
) -> Result<(ModelFolder, Signature), Failure> {
    let storage = storage.blocking();
    let folder = ModelFolder::look(storage, place).map_err(failure::at(pointer))?;
    let signature = folder.signature(storage).map_err(failure::at(pointer))?;

    let naming = Naming::of(&folder.config, &signature);
    Ok((folder, naming.read_signature(signature)))
}
