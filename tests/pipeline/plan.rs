//! A plan's estimate, and what it remembers of this machine.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::case::Case;
use crate::support::retune;

fn by_command(case: &Case, cache: &Path) -> Value {
    case.write("spec.json", case.spec().to_string());
    let done = retune()
        .args(["plan", "--json"])
        .arg(case.path("spec.json"))
        .env("RETUNE_WORKER_CACHE_DIR", cache)
        .output()
        .expect("the program runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

#[test]
fn phases_add_up_and_the_machines_speed_is_remembered() {
    let case = Case::fresh();
    let cache = case.folder.path().join("cache");
    let plan = by_command(&case, &cache);
    let estimate = &plan["estimate"];
    let sum = |field: &str| -> f64 {
        let phases = estimate["phases"].as_array().expect("phases");
        phases.iter().map(|phase| phase[field].as_f64().expect("a number")).sum()
    };
    let total = |field: &str| estimate[field].as_f64().expect("a number");
    assert!(total("seconds") > 0.0 && (sum("seconds") - total("seconds")).abs() < 1e-3);
    assert!((sum("flops") - total("flops")).abs() < 1.0);
    // Three models of f32.
    let parameters = plan["parameters"].as_u64().expect("a count");
    let data = ["train", "validation", "test"]
        .map(|name| fs::metadata(case.path(&format!("{name}.safetensors"))).unwrap().len());
    assert_eq!(estimate["read_bytes"], 3 * 4 * parameters + data.iter().sum::<u64>());
    assert!(total("memory_bytes") > 1e7);

    let file = cache.join("speed.json");
    let remembered = fs::read_to_string(&file).expect("it is written");
    let speed = |plan: &Value| plan["speeds"]["product"].as_f64().expect("a number");
    let again = by_command(&case, &cache);
    assert!((speed(&again) / speed(&plan) - 1.0).abs() < 1e-12, "not measured again");
    assert_eq!(fs::read_to_string(&file).unwrap(), remembered);
    let mut speeds: Value = serde_json::from_str(&remembered).unwrap();
    speeds["product"] = json!(-1.0);
    for wrong in [String::new(), "{".into(), "[]".into(), speeds.to_string()] {
        fs::write(&file, &wrong).expect("our own file");
        let plan = by_command(&case, &cache);
        assert!(speed(&plan) > 0.0);
        assert_ne!(fs::read_to_string(&file).unwrap(), wrong, "it is mended");
    }
}
