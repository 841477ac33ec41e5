//! What each page's forms do: a job, a retune, a key, an endpoint.

use retune::{pipeline::Verdict, service::domain::access::Role};
use serde_json::json;

use super::{super::app::App, Browser};

#[tokio::test]
async fn a_job_is_planned_changed_and_submitted_once() {
    let app = App::open().await;
    let browser = Browser::open(&app, None).await;
    let like = app
        .post("/v1/transfers", &app.spec(), &[])
        .await
        .ok(202)
        .json();
    let form = browser
        .get(&format!(
            "/transfers/new?like={}",
            like["id"].as_str().unwrap()
        ))
        .await
        .ok(200)
        .text();
    assert!(
        form.contains("/old/") && form.contains("name=\"once\""),
        "{form}"
    );
    let spec = app.spec().to_string();
    // Its files are not there, which the plan finds.
    let planned = browser
        .post("/transfers/new", &[("spec", &spec), ("do", "plan")])
        .await;
    assert_eq!(planned.status.as_u16(), 422);
    assert!(planned.text().contains("Not accepted"));
    let broken = browser
        .post("/transfers/new", &[("spec", "{<b>"), ("do", "submit")])
        .await
        .ok(422)
        .text();
    assert!(
        broken.contains("This is no JSON") && broken.contains("{&#60;b&#62;"),
        "{broken}"
    );
    let once = [("spec", &*spec), ("do", "submit"), ("once", "a-1")];
    let first = browser.post("/transfers/new", &once).await.ok(303);
    let again = browser.post("/transfers/new", &once).await.ok(303);
    assert_eq!(first.header("location"), again.header("location"));
    let listed = app.get("/v1/transfers").await.ok(200).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_retune_is_begun_paused_and_its_version_promoted_and_rolled_back() {
    let app = App::with_base().await;
    app.fine_tune("news", "publish").await.ok(201);
    app.version("llama", "2").await.ok(201);
    app.finish_next(Verdict::Published).await;
    app.version("llama", "3").await.ok(201);
    app.finish_next(Verdict::Published).await;
    let browser = Browser::open(&app, None).await;
    let page = browser.get("/fine-tunes/news").await.ok(200).text();
    assert!(
        page.contains("/fine-tunes/news/versions/2/promote"),
        "{page}"
    );
    for version in ["1", "2"] {
        let path = format!("/fine-tunes/news/versions/{version}/promote");
        assert_eq!(
            browser.post(&path, &[]).await.ok(303).header("location"),
            "/fine-tunes/news"
        );
    }
    browser
        .post("/fine-tunes/news/versions/2/rollback", &[])
        .await
        .ok(303);
    let alias = app
        .get("/v1/fine_tunes/news/aliases/production")
        .await
        .ok(200)
        .json();
    assert_eq!(alias["version"], 1);
    let page = browser.get("/fine-tunes/news").await.ok(200).text();
    assert!(page.contains("rolled back to version 1, from 2"), "{page}");
    let beside = browser
        .get("/fine-tunes/news/compare?a=1&b=2")
        .await
        .ok(200)
        .text();
    assert!(
        beside.contains("Version 1 beside version 2") || beside.contains("llama 3"),
        "{beside}"
    );

    app.fine_tune("other", "publish").await.ok(201);
    let fields = [
        ("base_model", "llama"),
        ("version", "2"),
        ("fine_tunes", "other, "),
        ("once", "r"),
    ];
    let begun = browser.post("/retunes", &fields).await.ok(303);
    let place = begun.header("location").to_owned();
    assert!(place.starts_with("/retunes/"), "{place}");
    browser.post(&format!("{place}/pause"), &[]).await.ok(303);
    assert!(browser.get(&place).await.ok(200).text().contains("/resume"));
    browser.post(&format!("{place}/resume"), &[]).await.ok(303);
    browser.post(&format!("{place}/cancel"), &[]).await.ok(303);
    let page = browser.get(&place).await.ok(200).text();
    assert!(
        page.contains("cancelled") && !page.contains("/pause"),
        "{page}"
    );
    let refused = browser
        .post("/retunes", &[("base_model", "llama"), ("version", "9")])
        .await
        .ok(422);
    assert!(refused.text().contains("unknown_version"));
}

#[tokio::test]
async fn a_key_is_shown_once_and_withdrawn() {
    let app = App::closed().await;
    let admin = Browser::open(&app, Some(&app.key(Role::Admin).await)).await;
    let made = admin
        .post("/keys", &[("name", "pipeline"), ("role", "submit")])
        .await
        .ok(200);
    assert_eq!(made.header("cache-control"), "no-store");
    let text = made.text();
    let secret = text[text.find("rt_").expect("a key")..]
        .split('<')
        .next()
        .unwrap()
        .trim()
        .to_owned();
    assert_eq!(secret.len(), 80, "{secret}");
    app.get_with(
        "/v1/transfers",
        &[("authorization", &format!("Bearer {secret}"))],
    )
    .await
    .ok(200);
    let list = admin.get("/keys").await.ok(200).text();
    assert!(list.contains("pipeline") && !list.contains(&secret));
    let keys = app
        .get_with(
            "/v1/api_keys",
            &[("authorization", &format!("Bearer {}", key_of(&admin)))],
        )
        .await;
    let keys = keys.ok(200).json();
    let id = keys["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "pipeline")
        .unwrap()["id"]
        .clone();
    admin
        .post(&format!("/keys/{}/revoke", id.as_str().unwrap()), &[])
        .await
        .ok(303);
    let refused = app
        .get_with(
            "/v1/transfers",
            &[("authorization", &format!("Bearer {secret}"))],
        )
        .await;
    refused.problem(401, "unauthenticated");
    admin
        .post("/keys", &[("name", " "), ("role", "read")])
        .await
        .ok(422);
}

fn key_of<'a>(browser: &'a Browser<'_>) -> &'a str {
    let key = browser
        .cookies
        .split("; ")
        .find_map(|cookie| cookie.strip_prefix("retune_key="));
    key.expect("a key")
}

#[tokio::test]
async fn an_endpoint_is_added_tested_and_removed() {
    let app = App::open().await;
    let browser = Browser::open(&app, None).await;
    let fields = [
        ("name", "ci"),
        ("url", "https://example.com/hook"),
        ("events", "transfer.failed"),
    ];
    let made = browser.post("/webhooks", &fields).await.ok(200).text();
    assert!(made.contains("whsec_"));
    app.put(
        "/v1/webhook_endpoints/all",
        &json!({"url": "https://example.com/all"}),
        &[],
    )
    .await
    .ok(201);
    browser.post("/webhooks/ci/test", &[]).await.ok(303);
    // One event, for this endpoint alone, though another listens to everything.
    let told = app
        .get("/v1/webhook_endpoints/ci/deliveries")
        .await
        .ok(200)
        .json();
    let told = told["data"].as_array().unwrap().clone();
    assert_eq!(
        (told.len(), &told[0]["type"]),
        (1, &json!("webhook_endpoint.test"))
    );
    let other = app
        .get("/v1/webhook_endpoints/all/deliveries")
        .await
        .ok(200)
        .json();
    assert!(other["data"].as_array().unwrap().is_empty());
    let page = browser.get("/webhooks/ci").await.ok(200).text();
    assert!(
        page.contains("webhook_endpoint.test") && page.contains("/replay"),
        "{page}"
    );
    let replay = format!(
        "/webhooks/ci/deliveries/{}/replay",
        told[0]["id"].as_str().unwrap()
    );
    browser.post(&replay, &[]).await.ok(303);
    let off = [
        ("name", "ci"),
        ("url", "https://example.com/hook"),
        ("events", "*"),
        ("enabled", "false"),
    ];
    browser.post("/webhooks", &off).await.ok(303);
    browser.post("/webhooks/ci/test", &[]).await.ok(409);
    assert!(
        browser
            .get("/webhooks")
            .await
            .ok(200)
            .text()
            .contains("disabled")
    );
    browser.post("/webhooks/ci/delete", &[]).await.ok(303);
    browser.get("/webhooks/ci").await.ok(404);
    browser.post("/webhooks/nobody/test", &[]).await.ok(404);
    browser
        .post(
            "/webhooks",
            &[("name", "../x"), ("url", "https://example.com/")],
        )
        .await
        .ok(400);
}
