use retune::{
    contract::ids::{TransferId, WorkerId},
    pipeline::{Outcome, Verdict},
    service::registry::attempts,
};
use serde_json::json;

use super::app::App;
use crate::support::LONG;

/// A finished transfer whose result lies in the store, beside a file that the manifest omits.
pub async fn finished(app: &App) -> TransferId {
    let id = app.db.queued(1).await.id;
    let folder = app.objects.join("out").join(id.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    let report = json!({
        "candidates": [{"method": "fgmt", "validation": {"accuracy": 0.9}, "step": 2,
            "steps": [{"step": 1, "accuracy": 0.5}, {"step": 2, "accuracy": 0.9}]}],
        "winner": "fgmt", "recommendation": {"reasons": ["it <b>works</b>"]}
    })
    .to_string();
    std::fs::write(folder.join("report.json"), &report).unwrap();
    std::fs::write(folder.join("model.safetensors"), b"0123456789").unwrap();
    std::fs::write(folder.join("secret"), b"not listed").unwrap();
    std::fs::create_dir(folder.join("adapter")).unwrap();
    std::fs::write(folder.join("adapter/adapter_config.json"), b"{}").unwrap();
    let outputs = json!([
        {"name": "model.safetensors", "size": 10, "sha256": "aa"},
        {"name": "report.json", "size": report.len(), "sha256": "bb"},
        {"name": "../secret", "size": 1, "sha256": "cc"},
        {"name": "adapter/adapter_config.json", "size": 2, "sha256": "dd"},
    ]);
    let manifest = json!({"format": "retune-result/1", "outputs": outputs}).to_string();
    std::fs::write(folder.join("manifest.json"), &manifest).unwrap();
    let lease = attempts::claim(&app.db.database, WorkerId::generate(), LONG)
        .await
        .unwrap()
        .unwrap();
    let outcome = Outcome {
        uri: app.uri(&format!("out/{id}/")),
        manifest_sha256: "dd".into(),
        bytes: 1000,
        verdict: Verdict::Published,
        recommendation: None,
        metrics: json!({"accuracy": 0.9}),
    };
    assert!(
        attempts::succeed(&app.db.database, &lease, &outcome)
            .await
            .unwrap()
    );
    id
}

#[tokio::test]
async fn the_report_and_the_listed_files_are_served() {
    let app = App::open().await;
    let id = finished(&app).await;
    let report = app.get(&format!("/v1/transfers/{id}/report")).await.ok(200);
    assert_eq!(report.json()["winner"], "fgmt");
    let whole = app
        .get(&format!("/v1/transfers/{id}/files/model.safetensors"))
        .await
        .ok(200);
    assert_eq!(
        (whole.text().as_str(), whole.header("etag")),
        ("0123456789", "\"aa\"")
    );
    assert_eq!(whole.header("accept-ranges"), "bytes");
    app.get(&format!("/v1/transfers/{id}/files/manifest.json"))
        .await
        .ok(200);
    for name in [
        "adapter/adapter_config.json",
        "adapter%2Fadapter_config.json",
    ] {
        let file = app
            .get(&format!("/v1/transfers/{id}/files/{name}"))
            .await
            .ok(200);
        assert_eq!(file.text(), "{}");
    }
    for name in [
        "adapter",
        "adapter/nothing",
        "secret",
        "..%2Fsecret",
        "%2Fetc%2Fpasswd",
        "nothing",
        "model.safetensors%00",
    ] {
        app.get(&format!("/v1/transfers/{id}/files/{name}"))
            .await
            .problem(404, "not_found");
    }
}

#[tokio::test]
async fn parts_of_a_file_are_served() {
    let app = App::open().await;
    let file = format!(
        "/v1/transfers/{}/files/model.safetensors",
        finished(&app).await
    );
    let part = app.get_with(&file, &[("range", "bytes=2-4")]).await.ok(206);
    assert_eq!(
        (part.text().as_str(), part.header("content-range")),
        ("234", "bytes 2-4/10")
    );
    let tail = app
        .get_with(&file, &[("range", "bytes=-3"), ("if-range", "\"aa\"")])
        .await
        .ok(206);
    assert_eq!(
        (tail.text().as_str(), tail.header("content-length")),
        ("789", "3")
    );
    let other = app
        .get_with(&file, &[("range", "bytes=-3"), ("if-range", "\"zz\"")])
        .await;
    assert_eq!(other.ok(200).text().len(), 10);
    let beyond = app.get_with(&file, &[("range", "bytes=10-")]).await;
    assert_eq!(beyond.header("content-range"), "bytes */10");
    beyond.problem(416, "range_not_satisfiable");
    app.get_with(&file, &[("if-none-match", "\"aa\"")])
        .await
        .ok(304);
    for known in ["\"bb\", W/\"aa\"", "*"] {
        app.get_with(&file, &[("if-none-match", known)])
            .await
            .ok(304);
    }
}

#[tokio::test]
async fn what_is_not_finished_has_no_report() {
    let app = App::open().await;
    let id = app.db.queued(1).await.id;
    for tail in ["report", "files/report.json"] {
        app.get(&format!("/v1/transfers/{id}/{tail}"))
            .await
            .problem(404, "no_result");
    }
}

#[tokio::test]
async fn the_page_of_a_finished_transfer_shows_its_report() {
    let app = App::open().await;
    let id = finished(&app).await;
    let page = app.get(&format!("/transfers/{id}")).await.ok(200).text();
    assert!(page.contains("<polyline") && page.contains("90.0 %"));
    assert!(
        page.contains("works") && !page.contains("<b>works"),
        "escaped"
    );
    assert!(page.contains(&format!("/v1/transfers/{id}/files/model.safetensors")));
    std::fs::remove_dir_all(app.objects.join("out")).unwrap();
    let page = app.get(&format!("/transfers/{id}")).await.ok(200).text();
    assert!(page.contains("The result cannot be read"));
    app.get(&format!("/v1/transfers/{id}/report"))
        .await
        .problem(404, "result_gone");
}
