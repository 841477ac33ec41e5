//! `trajectory.json`: refused, or checkpoints in rising order, each inside the folder.
#![no_main]

mod folder;

use folder::FOLDER;
use libfuzzer_sys::fuzz_target;
use retune::artifacts::Trajectory;

fuzz_target!(|bytes: &[u8]| {
    FOLDER.write("tuned/trajectory.json", bytes);
    let (place, base) = (FOLDER.location("tuned/"), FOLDER.location("base/"));
    let Ok(found) = Trajectory::look(FOLDER.storage.blocking(), &place, &base) else { return };
    assert!(found.checkpoints.len() >= 2);
    assert!(found.checkpoints.is_sorted_by(|a, b| a.step < b.step));
    for checkpoint in &found.checkpoints {
        let model = checkpoint.model.to_string();
        let inside = model.strip_prefix(&place.to_string()).expect("inside the folder");
        assert!(inside.split('/').all(|part| part != ".."), "{model}");
    }
});
