//! A row of the evidence is what its command says: the row of the shipped images is measured again.
//!
//! A binary of its own, because it needs the modules of the bench; `make test` runs it.

mod automatic;
mod bench;
mod case;
mod contender;
mod costs;
mod images;
mod measure;
mod networks;
mod row;
mod spent;

use std::{fs, path::Path};

use serde_json::Value;

use costs::CostRow;
use row::{Row, rows};

/// Other processors sum in another order, and training makes much of little: three points.
const TOLERANCE: f64 = 0.03;

#[test]
fn a_row_is_measured_again() {
    let row = Row::shipped();
    assert!(
        rows().any(|other| other.name() == row.name()),
        "the bench measures it too"
    );
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/evidence");
    let kept = fs::read(kept.join(format!("{}.json", row.name()))).expect("it is kept");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    let found = row
        .measure(Path::new("/nowhere"), &row::commit())
        .expect("it needs no files");
    let near = |found: &Value, kept: &Value, what: &str| {
        let (found, kept) = (found.as_f64().expect(what), kept.as_f64().expect(what));
        assert!(
            (found - kept).abs() <= TOLERANCE,
            "{what}: {found} now, {kept} kept"
        );
    };
    for key in ["keep_old", "target_untouched"] {
        near(&found[key], &kept[key], key);
    }
    near(
        &found["auto"]["transferred"],
        &kept["auto"]["transferred"],
        "auto",
    );
    assert_eq!(found["auto"]["published"], kept["auto"]["published"]);
    let contenders = |row: &Value| row["contenders"].as_array().expect("contenders").clone();
    let (found, kept) = (contenders(&found), contenders(&kept));
    assert_eq!(found.len(), kept.len());
    for (found, kept) in found.iter().zip(&kept) {
        assert_eq!(found["name"], kept["name"]);
        let name = kept["name"].as_str().expect("a name");
        near(&found["accuracy"], &kept["accuracy"], name);
        near(&found["after_epoch"], &kept["after_epoch"], name);
        let cost = |row: &Value| row["cost"]["gradients"].as_f64().expect("a count");
        assert!(
            (cost(found) - cost(kept)).abs() <= 0.1 * cost(kept),
            "{name}: gradients"
        );
    }
}

#[test]
fn the_costs_of_a_row_are_measured_again() {
    let row = CostRow::shipped();
    assert!(
        costs::rows().any(|other| other.name() == row.name()),
        "the bench measures it too"
    );
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/costs");
    let kept = fs::read(kept.join(format!("{}.json", row.name()))).expect("it is kept");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    let found = row
        .measure(Path::new("/nowhere"), &row::commit())
        .expect("it needs no files");

    let ways = |row: &Value| row["ways"].as_array().expect("ways").clone();
    let (found_ways, kept_ways) = (ways(&found), ways(&kept));
    assert_eq!(found_ways.len(), kept_ways.len());
    for (found, kept) in found_ways.iter().zip(&kept_ways) {
        assert_eq!(found["name"], kept["name"]);
        let figure = |way: &Value, pointer: &str| way.pointer(pointer).and_then(Value::as_f64);
        let (accuracy, before) = (figure(found, "/accuracy"), figure(kept, "/accuracy"));
        let apart = (accuracy.expect("a figure") - before.expect("a figure")).abs();
        assert!(apart <= TOLERANCE, "{found} now, {kept} kept");
        let [spent, then] = [found, kept].map(|way| figure(way, "/cost/gradients"));
        let (spent, then) = (spent.expect("a count"), then.expect("a count"));
        assert!(
            (spent - then).abs() <= 0.1 * then,
            "{found} now, {kept} kept"
        );
    }
}
