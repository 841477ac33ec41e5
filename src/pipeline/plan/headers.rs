//! The three models of a transfer by their headers, brought under one signature as `models::read` does
//! with their tensors.

use serde_json::Value;

use crate::{
    artifacts::{self, ModelFolder},
    engine::{
        network::{Graph, Signature},
        transfer::compatibility::AdoptedHead,
    },
    pipeline::{
        Failure, failure,
        fetch::{headers, location},
        models,
    },
    spec::Spec,
    storage::Storage,
};

const TRAJECTORY: &str = "/source/trajectory";

pub struct Models {
    /// The new base, with the adopted head's configuration.
    pub folder: ModelFolder,
    pub target: Signature,
    pub base: Signature,
    pub head: Option<AdoptedHead>,
    pub across_widths: bool,
    /// Points of the trajectory, the old base included.
    pub checkpoints: usize,
}

impl Models {
    pub fn look(spec: &Spec, storage: &Storage) -> Result<Self, Failure> {
        let (mut folder, mut target) = headers(storage, "/target/base", &spec.target.base)?;
        let (old, mut base) = headers(storage, "/source/base", &spec.source.base)?;
        let (tuned_config, mut tuned, checkpoints) = tuned(spec, storage, (&old, &base))?;
        let head = AdoptedHead::find((&tuned_config, &tuned), [&base, &target], &folder.config);
        if let Some(head) = &head {
            (base, target) = (head.on_signature(base, &tuned), head.on_signature(target, &tuned));
            folder.config = head.config.clone();
        }
        if let Ok(graph) = Graph::from_config(&folder.config, &target) {
            let before = (&old, &tuned_config, &base);
            let after = (&folder, &graph, &target);
            let files = &mut Vec::new();
            for rows in models::shared_rows(storage.blocking(), before, after, files)? {
                base = rows.on_signature(base);
                tuned = rows.on_signature(tuned);
            }
        }
        let bases = [(&old.config, &base), (&folder.config, &target)];
        let source = models::at_another_width(spec, bases)?;
        models::same_as_tuned(&tuned, (source.as_ref(), &base), &target)?;
        let across_widths = source.is_some();
        Ok(Self { folder, target, base, head, across_widths, checkpoints })
    }
}

/// Configuration and headers of the tuned model, and how many points its trajectory has.
fn tuned(
    spec: &Spec,
    storage: &Storage,
    (old, base): (&ModelFolder, &Signature),
) -> Result<(Value, Signature, usize), Failure> {
    let place = location(storage, TRAJECTORY, &spec.source.trajectory)?;
    let trajectory = artifacts::Trajectory::look(storage.blocking(), &place, &old.location)
        .map_err(failure::at(TRAJECTORY))?;
    let (last, checkpoints) = (&trajectory.last().model, trajectory.checkpoints.len());
    let first = &trajectory.checkpoints[0].model;
    if trajectory.list.is_some() && *first != old.location {
        let (folder, own) = headers(storage, TRAJECTORY, &first.to_string())?;
        models::same_body((&folder.config, &own), base)?;
    }
    let adapter =
        artifacts::Adapter::look(storage.blocking(), last).map_err(failure::at(TRAJECTORY))?;
    let (config, signature) = if let Some(adapter) = adapter {
        let base = (&old.config, base);
        adapter.check(storage.blocking(), base).map_err(failure::at(TRAJECTORY))?
    } else {
        let (folder, signature) = headers(storage, TRAJECTORY, &last.to_string())?;
        (folder.config, signature)
    };
    Ok((config, signature, checkpoints))
}
