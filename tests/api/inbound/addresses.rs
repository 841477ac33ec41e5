//! Addresses of notifications: who makes them, what they open, and what other tenants see.

use retune::service::domain::access::{DEFAULT_TENANT, Role};
use serde_json::json;

use super::super::app::{App, bearer};
use crate::support::within;

#[tokio::test]
async fn nothing_outside_the_folder_is_looked_at_and_a_token_opens_nothing_else() {
    let app = App::with_base().await;
    app.put_model("mistral/2", "weights");
    let address = app.address("cloudevents").await;
    let long = app.uri(&format!("llama/{}/config.json", "x".repeat(1200)));
    for outside in [
        app.uri("mistral/2/config.json"),
        app.uri("llama/"),
        "file:///etc/passwd".into(),
        long,
    ] {
        let answer = app
            .notify(&address, &json!({"data": {"uri": outside}}))
            .await;
        assert_eq!(answer["arrivals"], json!([]), "{answer}");
        assert_eq!(
            answer["ignored"].as_array().map(Vec::len),
            Some(1),
            "{answer}"
        );
    }
    let nothing = app.notify(&address, &json!({"type": "test"})).await;
    assert_eq!(
        nothing,
        json!({"arrivals": [], "ignored": [], "listing": false})
    );
    assert!(app.arrivals().await.is_empty());
    for wrong in [
        "/v1/inbound/cloudevents/none".to_owned(),
        format!(
            "/v1/inbound/cloudevents/rt_{}_{}",
            "0".repeat(12),
            "0".repeat(64)
        ),
        address.replace("cloudevents", "pigeon"),
    ] {
        app.post(&wrong, &json!({}), &[])
            .await
            .problem(404, "not_found");
    }
}

#[tokio::test]
async fn addresses_are_made_by_administrators_and_withdrawn() {
    let app = App::closed().await;
    let (admin, reader) = (
        bearer(&app.key(Role::Admin).await),
        bearer(&app.key(Role::Submit).await),
    );
    let as_admin = [("authorization", admin.as_str())];
    app.put("/v1/base_models/llama", &json!({}), &as_admin)
        .await
        .ok(201);
    let place = "/v1/base_models/llama/inbound_tokens";
    let body = json!({"prefix": app.uri("llama/")});
    app.post(place, &body, &[("authorization", &reader)])
        .await
        .problem(403, "forbidden");
    app.get_with(place, &[("authorization", &reader)])
        .await
        .problem(403, "forbidden");
    app.post(place, &json!({"prefix": "file:///etc/"}), &as_admin)
        .await
        .problem(422, "location_not_allowed");
    let made = app.post(place, &body, &as_admin).await.ok(201).json();
    let address = format!("/v1/inbound/s3/{}", made["token"].as_str().unwrap());
    app.post(&address, &json!({}), &[]).await.ok(202);
    let own = format!("{place}/{}", made["id"].as_str().unwrap());
    app.delete(&own, &as_admin).await.ok(204);
    app.delete(&own, &as_admin).await.problem(404, "not_found");
    app.post(&address, &json!({}), &[])
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn another_tenants_arrivals_are_not_there() {
    let app = App::closed().await;
    let (ours, theirs) = (DEFAULT_TENANT, app.tenant().await);
    let mut keys = Vec::new();
    for tenant in [ours, theirs] {
        keys.push(bearer(&app.key_of(tenant, Role::Admin).await));
    }
    for key in &keys {
        app.put(
            "/v1/base_models/llama",
            &json!({}),
            &[("authorization", key)],
        )
        .await
        .ok(201);
    }
    let place = "/v1/base_models/llama/inbound_tokens";
    let body = json!({"prefix": app.uri("llama/")});
    let made = app
        .post(place, &body, &[("authorization", &keys[0])])
        .await
        .ok(201)
        .json();
    let address = format!(
        "/v1/inbound/cloudevents/{}",
        made["token"].as_str().unwrap()
    );
    app.put_model("llama/2", "weights");
    app.notify(&address, &app.landed("llama/2/config.json"))
        .await;
    app.look(app.shutdown.clone());
    for (key, count) in [(&keys[0], 1), (&keys[1], 0)] {
        for list in ["arrivals", "inbound_tokens"] {
            let path = format!("/v1/base_models/llama/{list}");
            let listed = app
                .get_with(&path, &[("authorization", key)])
                .await
                .ok(200)
                .json();
            assert_eq!(
                listed["data"].as_array().map(Vec::len),
                Some(count),
                "{list}"
            );
        }
    }
    within("it is registered", async || {
        let path = "/v1/base_models/llama/versions/2";
        (app.get_with(path, &[("authorization", &keys[0])])
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    let path = "/v1/base_models/llama/versions/2";
    app.get_with(path, &[("authorization", &keys[1])])
        .await
        .problem(404, "not_found");
}
