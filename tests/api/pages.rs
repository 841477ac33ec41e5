use axum::http::Method;
use futures::future::join_all;
use retune::{config::Settings, pipeline::Verdict, service::domain::access::Role};

use super::app::{Answer, App, request};

#[tokio::test]
async fn the_list_shows_transfers_and_forbids_foreign_scripts() {
    let app = App::open().await;
    assert!(app.get("/").await.ok(200).text().contains("No transfers yet"));
    let id = app.db.queued(1).await.id;
    let list = app.get("/?status=queued").await.ok(200);
    assert!(list.text().contains(&format!("/transfers/{id}")));
    assert!(list.header("content-security-policy").contains("default-src 'none'"));
    assert!(app.get("/?status=failed").await.ok(200).text().contains("Nothing here"));
    assert!(app.get("/?status=%00&after=x").await.ok(200).text().contains(&id.to_string()));
    for path in ["/assets/style.css", "/assets/live.js", "/assets/icon.svg"] {
        app.get(path).await.ok(200);
    }
    app.get("/transfers/x").await.ok(404);
}

#[tokio::test]
async fn the_registry_shows_what_is_in_production() {
    let app = App::open().await;
    assert!(app.get("/models").await.ok(200).text().contains("None yet"));
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.version("llama", "2").await.ok(201);
    let waiting = app.get("/models").await.ok(200).text();
    assert!(waiting.contains("llama 2") && waiting.contains("1 queued") && waiting.contains("0/1"));
    assert!(!waiting.contains("version 1"));
    app.finish_next(Verdict::Published).await;
    let done = app.get("/models").await.ok(200).text();
    assert!(done.contains("version 1") && done.contains("1 succeeded"));
    assert!(done.contains("promote: new version"));
}

async fn enter(app: &App, key: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    app.send(request(Method::POST, "/login", &headers, format!("key={key}").into())).await
}

#[tokio::test]
async fn with_keys_in_use_the_pages_ask_for_one() {
    let app = App::closed().await;
    app.db.queued(1).await;
    assert_eq!(app.get("/").await.ok(303).header("location"), "/login");
    let refused = enter(&app, "rt_wrong").await.ok(200);
    assert!(refused.text().contains("unknown") && refused.header("set-cookie").is_empty());
    let entered = enter(&app, &app.key(Role::Read).await).await.ok(303);
    let cookie = entered.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let session = cookie.split(';').next().unwrap();
    assert!(app.get_with("/", &[("cookie", session)]).await.ok(200).text().contains("queued"));
    // The cookie reads; it never changes anything.
    app.get_with("/v1/transfers", &[("cookie", session)]).await.ok(200);
    let session = format!("retune_key={}", app.key(Role::Admin).await);
    let posted = app.post("/v1/transfers", &app.spec(), &[("cookie", &session)]).await;
    posted.problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_tried_at_the_form_so_often_and_no_more() {
    let app = App::closed().await;
    let answers = join_all((0..30).map(|_| enter(&app, "rt_wrong"))).await;
    assert_eq!(answers[0].status, 200);
    let refused = answers.iter().find(|answer| answer.status == 429).expect("one too many");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.text().contains("Too many requests"));
    // Whoever is in stays in.
    let session = format!("retune_key={}", app.key(Role::Read).await);
    app.get_with("/", &[("cookie", &session)]).await.ok(200);
}

#[tokio::test]
async fn pages_count_as_requests_of_their_key() {
    let mut settings = Settings::default();
    settings.http.rate_limit = 1;
    let app = App::start(false, settings).await;
    let session = format!("retune_key={}", app.key(Role::Read).await);
    let session = [("cookie", session.as_str())];
    app.get_with("/", &session).await.ok(200);
    app.get_with("/models", &session).await.ok(429);
    app.get_with("/v1/transfers", &session).await.problem(429, "rate_limited");
}
