//! Fine-tunes: checked as the job that they will be, changed by who has seen them.

use serde_json::{Value, json};

use super::super::app::App;

#[tokio::test]
async fn a_fine_tune_is_checked_as_the_job_that_it_will_be() {
    let app = App::with_base().await;
    let put = async |change: &dyn Fn(&mut Value)| {
        let mut body = app.fine_tune_body("promote");
        change(&mut body);
        app.put("/v1/fine_tunes/news", &body, &[]).await
    };
    let refused = async |change: &dyn Fn(&mut Value), code: &str, pointer: &str| {
        assert_eq!(put(change).await.problem(422, code), [pointer]);
    };
    refused(
        &|b| b["spec"] = json!({"methods": ["identity"]}),
        "invalid_spec",
        "/spec",
    )
    .await;
    refused(
        &|b| b["spec"]["optons"] = json!({}),
        "invalid_spec",
        "/spec/optons",
    )
    .await;
    refused(
        &|b| b["spec"]["methods"] = json!(["fgmt"]),
        "invalid_spec",
        "/spec/methods/0",
    )
    .await;
    refused(
        &|b| b["spec"]["source"] = json!({}),
        "invalid_spec",
        "/spec/source",
    )
    .await;
    refused(
        &|b| b["spec"]["callback"] = json!({"url": "https://127.0.0.1/"}),
        "address_not_allowed",
        "/spec/callback/url",
    )
    .await;
    refused(
        &|b| b["spec"]["output"] = json!("file:///etc/"),
        "location_not_allowed",
        "/spec/output",
    )
    .await;
    refused(
        &|b| b["trajectory"] = json!("file:///etc/"),
        "location_not_allowed",
        "/trajectory",
    )
    .await;
    refused(
        &|b| b["data"] = json!({"train": "file:///etc/x"}),
        "location_not_allowed",
        "/data/train",
    )
    .await;
    refused(
        &|b| b["base_version"] = json!("9"),
        "unknown_version",
        "/base_version",
    )
    .await;
    refused(
        &|b| b["policy"]["alias"] = json!("stable"),
        "invalid_body",
        "/policy/alias",
    )
    .await;
    refused(
        &|b| b["policy"]["mode"] = json!("deploy"),
        "invalid_body",
        "/policy/mode",
    )
    .await;
    refused(&|b| b["extra"] = json!(1), "invalid_body", "/extra").await;
    assert_eq!(app.get("/v1/fine_tunes").await.json()["data"], json!([]));
    put(&|_| {}).await.ok(201);
}

#[tokio::test]
async fn a_fine_tune_is_changed_only_by_who_has_seen_it() {
    let app = App::with_base().await;
    let path = "/v1/fine_tunes/news";
    let body = app.fine_tune_body("propose");
    let absent = app.put(path, &body, &[("if-match", "*")]).await;
    absent.problem(412, "precondition_failed");
    let made = app.put(path, &body, &[]).await.ok(201);
    let first = made.header("etag").to_owned();
    // The same again is no change.
    assert_eq!(
        app.put(path, &body, &[]).await.ok(200).header("etag"),
        first
    );
    let changed = app.fine_tune_body("promote");
    let second = app
        .put(path, &changed, &[("if-match", &first)])
        .await
        .ok(200);
    assert_ne!(second.header("etag"), first);
    app.put(path, &body, &[("if-match", &first)])
        .await
        .problem(412, "precondition_failed");
    let shown = app.get(path).await.ok(200);
    assert_eq!(
        (shown.header("etag"), &shown.json()),
        (second.header("etag"), &second.json())
    );
    assert_eq!(
        shown.json()["policy"],
        json!({"on": "new_version", "mode": "promote"})
    );
    app.get_with(path, &[("if-none-match", second.header("etag"))])
        .await
        .ok(304);
    let of = async |model: &str| {
        app.get(&format!("/v1/fine_tunes?base_model={model}"))
            .await
            .ok(200)
            .json()["data"]
            .clone()
    };
    assert_eq!(
        (of("llama").await[0].clone(), of("bert").await),
        (shown.json(), json!([]))
    );
}
