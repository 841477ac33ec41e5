//! The demo, from an empty folder to its table.

use serde_json::Value;

use crate::support::{reachable_folder, retune};

#[test]
fn the_demo_comes_to_its_end_and_leaves_what_it_says() {
    let (_kept, folder) = reachable_folder();
    let ran = retune()
        .args(["demo", "--json", "--dir"])
        .arg(&folder)
        .output();
    let ran = ran.expect("the program starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let table: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let rows = table["rows"].as_array().expect("a list");
    assert!(rows.len() > 5, "{table:#}");
    let place = |name: &str| {
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect(name);
        std::path::PathBuf::from(line.trim())
    };
    for name in ["model", "report", "inputs"] {
        assert!(
            place(name).exists(),
            "{name} is not where it is said to be: {said}"
        );
    }
}
