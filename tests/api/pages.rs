use axum::http::Method;
use futures::future::join_all;
use retune::{config::Settings, pipeline::Verdict, service::domain::access::Role};

use super::app::{Answer, App, request};

#[tokio::test]
async fn the_list_shows_transfers_and_forbids_foreign_scripts() {
    let app = App::open().await;
    assert!(
        app.get("/transfers")
            .await
            .ok(200)
            .text()
            .contains("No transfers yet")
    );
    let id = app.db.queued(1).await.id;
    let list = app.get("/transfers?status=queued").await.ok(200);
    assert!(list.text().contains(&format!("/transfers/{id}")));
    assert!(
        list.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(
        app.get("/transfers?status=failed")
            .await
            .ok(200)
            .text()
            .contains("Nothing here")
    );
    assert!(
        app.get("/transfers?status=%00&after=x&search=%00")
            .await
            .ok(200)
            .text()
            .contains(&id.to_string())
    );
    for path in ["/assets/style.css", "/assets/live.js", "/assets/icon.svg"] {
        app.get(path).await.ok(200);
    }
    app.get("/transfers/x").await.ok(404);
}

#[tokio::test]
async fn the_overview_says_what_needs_somebody() {
    let app = App::open().await;
    assert!(
        app.get("/")
            .await
            .ok(200)
            .text()
            .contains("Nothing runs and nothing waits.")
    );
    app.db.queued(1).await;
    assert!(
        app.get("/")
            .await
            .ok(200)
            .text()
            .contains("Transfers wait and there is no worker.")
    );
    let overview = app.get("/v1/overview").await.ok(200).json();
    assert_eq!(
        (overview["queued"].as_i64(), overview["workers"].as_i64()),
        (Some(1), Some(0))
    );
    // It is the tenant's own.
    let other = app.tenant().await;
    let key = format!("Bearer {}", app.key_of(other, Role::Read).await);
    let overview = app
        .get_with("/v1/overview", &[("authorization", &key)])
        .await
        .ok(200)
        .json();
    assert_eq!(overview["queued"], 0);
}

#[tokio::test]
async fn the_registry_shows_what_is_in_production_and_what_is_stale() {
    let app = App::open().await;
    for path in ["/retunes", "/fine-tunes", "/base-models"] {
        assert!(
            app.get(path).await.ok(200).text().contains("None yet"),
            "{path}"
        );
    }
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    let made = app.version("llama", "2").await.ok(201).json();
    let waiting = app.get("/retunes").await.ok(200).text();
    assert!(waiting.contains("llama 2") && waiting.contains("1 queued") && waiting.contains("0/1"));
    let page = app.get("/fine-tunes/news").await.ok(200).text();
    assert!(
        page.contains("version 2 replaced 1") && !page.contains("version 1<"),
        "{page}"
    );
    app.finish_next(Verdict::Published).await;
    let done = app.get("/fine-tunes").await.ok(200).text();
    assert!(
        done.contains("version 1")
            && done.contains("promote: new version")
            && done.contains("current")
    );
    assert!(
        app.get("/fine-tunes?show=stale")
            .await
            .ok(200)
            .text()
            .contains("Nothing here")
    );
    assert!(
        app.get("/retunes")
            .await
            .ok(200)
            .text()
            .contains("1 succeeded")
    );
    let retune = made["retune"].as_str().unwrap();
    let grid = app.get(&format!("/retunes/{retune}")).await.ok(200).text();
    assert!(grid.contains("class=\"cell production\""), "{grid}");
    let report = app
        .get(&format!("/v1/retunes/{retune}/report"))
        .await
        .ok(200)
        .json();
    assert_eq!(
        (
            &report["counts"]["carried"],
            &report["counts"]["in_production"]
        ),
        (&1.into(), &1.into())
    );
    let campaign = app
        .get(&format!("/retunes/{retune}/campaign"))
        .await
        .ok(200)
        .text();
    assert!(
        campaign.contains("1 of 1 fine-tunes were carried"),
        "{campaign}"
    );
    let lineage = app.get("/base-models/llama").await.ok(200).text();
    assert!(
        lineage.contains("<circle class=\"production\"")
            && lineage.contains("news version 1 on 2: in production")
    );
    for unknown in [
        "/base-models/x",
        "/fine-tunes/x",
        "/retunes/x",
        "/fine-tunes/news/compare?a=1&b=9",
    ] {
        app.get(unknown).await.ok(404);
    }
}

#[tokio::test]
async fn a_list_is_narrowed_as_the_api_narrows_it() {
    let app = App::open().await;
    let mut spec = app.spec();
    spec["metadata"] = serde_json::json!({"team": "search"});
    let first = app.post("/v1/transfers", &spec, &[]).await.ok(202).json()["id"].clone();
    let second = app
        .post("/v1/transfers", &app.spec(), &[])
        .await
        .ok(202)
        .json()["id"]
        .clone();
    let (first, second) = (first.as_str().unwrap(), second.as_str().unwrap());
    for (page, api) in [
        ("label=team%3Dsearch", "metadata.team=search"),
        ("search=SEARCH", "search=SEARCH"),
        (
            &*format!("search={}", &first[28..]),
            &*format!("search={}", &first[28..]),
        ),
    ] {
        let shown = app.get(&format!("/transfers?{page}")).await.ok(200).text();
        assert!(shown.contains(first) && !shown.contains(second), "{page}");
        let listed = app
            .get(&format!("/v1/transfers?{api}"))
            .await
            .ok(200)
            .json();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{api}");
    }
    let listed = app
        .get("/v1/transfers?status=queued&status=failed&created_after=2020-01-01T00:00:00Z")
        .await;
    assert_eq!(listed.ok(200).json()["data"].as_array().unwrap().len(), 2);
    let none = app
        .get("/v1/transfers?verdict=published")
        .await
        .ok(200)
        .json();
    assert!(none["data"].as_array().unwrap().is_empty());
    assert!(
        app.get("/transfers?from=soon")
            .await
            .ok(200)
            .text()
            .contains("is no date")
    );
}

async fn enter(app: &App, key: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    app.send(request(
        Method::POST,
        "/login",
        &headers,
        format!("key={key}").into(),
    ))
    .await
}

#[tokio::test]
async fn with_keys_in_use_the_pages_ask_for_one() {
    let app = App::closed().await;
    app.db.queued(1).await;
    assert_eq!(app.get("/").await.ok(303).header("location"), "/login");
    let asked = app.get("/transfers?status=queued").await.ok(303);
    assert_eq!(
        asked.header("location"),
        "/login?next=%2Ftransfers%3Fstatus%3Dqueued"
    );
    let refused = enter(&app, "rt_wrong").await.ok(200);
    assert!(refused.text().contains("unknown") && refused.header("set-cookie").is_empty());
    let entered = enter(&app, &app.key(Role::Read).await).await.ok(303);
    let cookie = entered.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let session = cookie.split(';').next().unwrap();
    assert!(
        app.get_with("/transfers", &[("cookie", session)])
            .await
            .ok(200)
            .text()
            .contains("queued")
    );
    // The cookie reads; it never changes anything.
    app.get_with("/v1/transfers", &[("cookie", session)])
        .await
        .ok(200);
    let session = format!("retune_key={}", app.key(Role::Admin).await);
    let posted = app
        .post("/v1/transfers", &app.spec(), &[("cookie", &session)])
        .await;
    posted.problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_tried_at_the_form_so_often_and_no_more() {
    let app = App::closed().await;
    let answers = join_all((0..30).map(|_| enter(&app, "rt_wrong"))).await;
    assert_eq!(answers[0].status, 200);
    let refused = answers
        .iter()
        .find(|answer| answer.status == 429)
        .expect("one too many");
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
    app.get_with("/transfers", &session).await.ok(429);
    app.get_with("/v1/transfers", &session)
        .await
        .problem(429, "rate_limited");
}
