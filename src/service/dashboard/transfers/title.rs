//! What a transfer is called on pages: the one place where that is decided.

use serde_json::Value;

use crate::service::{dashboard::format, domain::transfers::Transfer};

/// By the job's name, else by what is carried where: the fine-tune or the folder of the trajectory, and the new
/// base's folder.
pub fn of(transfer: &Transfer) -> String {
    let spec = &transfer.spec;
    if let Some(name) = spec
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
    {
        return name.to_owned();
    }

    let trajectory = format::last_part(&format::text(spec, "/source/trajectory"));
    let from = transfer.fine_tune.clone().unwrap_or(trajectory);
    let onto = format::last_part(&format::text(spec, "/target/base"));
    format!("{from} → {onto}")
}

/// The labels that a job was submitted with, as `key: value`.
pub fn labels(metadata: &Value) -> Vec<String> {
    let all = metadata.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some(format!("{key}: {}", value.as_str()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_of_its_own_comes_first() {
        let mut transfer: Transfer = serde_json::from_value(json!({
            "id": "0190f000-0000-7000-8000-000000000000", "status": "queued", "phase": null,
            "progress": null, "attempt": 0, "created_at": "2026-01-01T00:00:00Z", "started_at": null,
            "finished_at": null, "result": null, "verdict": null, "recommendation": null,
            "metrics": null, "metadata": {"team": "x"}, "error": null,
            "spec": {"source": {"trajectory": "file:///tuned/"}, "target": {"base": "file:///new/"}}
        }))
        .unwrap();
        assert_eq!(of(&transfer), "tuned → new");
        transfer.fine_tune = Some("news".into());
        assert_eq!(of(&transfer), "news → new");
        transfer.spec["name"] = "nightly".into();
        assert_eq!(of(&transfer), "nightly");
        assert_eq!(labels(&transfer.metadata), ["team: x"]);
    }
}
