//! What has ended, and what nothing lives on, is removed; the rest is not.

use retune::{
    pipeline::Verdict,
    service::{
        domain::access::{DEFAULT_TENANT, Role},
        registry::transitions,
    },
};
use serde_json::json;

use super::{
    app::{App, bearer},
    results::finished,
};

#[tokio::test]
async fn an_ended_transfer_is_deleted_and_its_files_only_where_that_is_said() {
    let app = App::open().await;
    let waiting = app.db.queued(1).await.id;
    app.delete(&format!("/v1/transfers/{waiting}"), &[])
        .await
        .problem(409, "invalid_state");
    transitions::request_cancel(&app.db.database, DEFAULT_TENANT, waiting)
        .await
        .unwrap();
    let path = format!("/v1/transfers/{waiting}");
    app.delete(&path, &[]).await.ok(204);
    app.get(&path).await.problem(404, "not_found");
    app.delete(&path, &[]).await.problem(404, "not_found");

    let (kept, gone) = (finished(&app).await, finished(&app).await);
    app.delete(&format!("/v1/transfers/{kept}"), &[])
        .await
        .ok(204);
    assert!(
        app.objects
            .join(format!("out/{kept}/manifest.json"))
            .exists()
    );
    app.delete(&format!("/v1/transfers/{gone}?files=true"), &[])
        .await
        .ok(204);
    assert!(!app.objects.join(format!("out/{gone}")).exists());
    let audit = app.get("/v1/audit_events?limit=1").await.ok(200).json();
    assert_eq!(audit["data"][0]["action"], "transfer.delete");
}

#[tokio::test]
async fn only_an_administrator_of_the_tenant_deletes() {
    let app = App::closed().await;
    let id = app.db.queued(1).await.id;
    transitions::request_cancel(&app.db.database, DEFAULT_TENANT, id)
        .await
        .unwrap();
    let path = format!("/v1/transfers/{id}");
    let submitter = bearer(&app.key(Role::Submit).await);
    app.delete(&path, &[("authorization", &submitter)])
        .await
        .problem(403, "forbidden");
    let stranger = bearer(&app.key_of(app.tenant().await, Role::Admin).await);
    app.delete(&path, &[("authorization", &stranger)])
        .await
        .problem(404, "not_found");
    let administrator = bearer(&app.key(Role::Admin).await);
    app.delete(&path, &[("authorization", &administrator)])
        .await
        .ok(204);
}

#[tokio::test]
async fn what_a_fine_tune_has_become_is_in_use_until_the_fine_tune_goes() {
    let app = App::with_base().await;
    app.fine_tune("mail", "promote").await.ok(201);
    app.version("llama", "2").await.ok(201);
    let busy = app.delete("/v1/fine_tunes/mail", &[]).await;
    busy.problem(409, "in_use");
    let transfer = app.finish_next(Verdict::Published).await;
    let path = format!("/v1/transfers/{transfer}");
    app.delete(&path, &[]).await.problem(409, "in_use");
    for version in ["1", "2"] {
        let path = format!("/v1/base_models/llama/versions/{version}");
        app.delete(&path, &[]).await.problem(409, "in_use");
    }
    app.delete("/v1/base_models/llama", &[])
        .await
        .problem(409, "in_use");

    app.delete("/v1/fine_tunes/mail", &[]).await.ok(204);
    app.get("/v1/fine_tunes/mail")
        .await
        .problem(404, "not_found");
    let left = app.get(&path).await.ok(200).json();
    assert_eq!(
        (left.get("fine_tune"), left["retune"].is_string()),
        (None, true)
    );
    app.delete(&path, &[]).await.ok(204);
    app.delete("/v1/base_models/llama/versions/1", &[])
        .await
        .ok(204);
    app.delete("/v1/base_models/llama/versions/1", &[])
        .await
        .problem(404, "not_found");
    app.delete("/v1/base_models/llama", &[]).await.ok(204);
    app.get("/v1/base_models/llama")
        .await
        .problem(404, "not_found");
    assert_eq!(
        app.get("/v1/retunes").await.ok(200).json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // The name is free again.
    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
}

#[tokio::test]
async fn a_version_goes_that_an_alias_has_left() {
    let app = App::with_base().await;
    let alias = "/v1/base_models/llama/aliases/stable";
    app.put(alias, &json!({"version": "1"}), &[]).await;
    app.delete("/v1/base_models/llama/versions/1", &[])
        .await
        .problem(409, "in_use");
    app.version("llama", "2").await.ok(201);
    app.put(alias, &json!({"version": "2"}), &[]).await.ok(200);
    app.delete("/v1/base_models/llama/versions/1", &[])
        .await
        .ok(204);
    let moves = app.get(&format!("{alias}/moves")).await.ok(200).json();
    assert_eq!(moves["data"].as_array().unwrap().len(), 1);
}
