//! The form for keys, under somebody who tries many.

use std::net::SocketAddr;

use axum::{body::Body, extract::ConnectInfo, http::Method};
use retune::{config::Settings, service::domain::access::Role};

use crate::api::app::{Answer, App, request};

async fn enter(app: &App, from: &str, forwarded: Option<&str>, key: &str) -> Answer {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(forwarded.map(|list| ("x-forwarded-for", list)));
    let body = Body::from(format!("key={key}"));
    let mut request = request(Method::POST, "/login", &headers, body);
    let peer: SocketAddr = from.parse().expect("an address");
    request.extensions_mut().insert(ConnectInfo(peer));
    app.send(request).await
}

/// Tries until it is slowed down.
async fn try_many(app: &App, from: &str, forwarded: Option<&str>) {
    for _ in 0..100 {
        if enter(app, from, forwarded, "rt_wrong").await.status == 429 {
            return;
        }
    }
    panic!("a hundred keys were tried at once");
}

#[tokio::test]
async fn who_tries_many_keys_locks_out_nobody_else() {
    let app = App::closed().await;
    let key = app.key(Role::Read).await;
    try_many(&app, "192.0.2.1:4000", None).await;
    assert_eq!(
        enter(&app, "198.51.100.7:4000", None, &key).await.status,
        303
    );
    // A header that anyone can send makes nobody someone else.
    try_many(&app, "192.0.2.2:4000", Some("198.51.100.8")).await;
    assert_eq!(
        enter(&app, "198.51.100.8:4000", None, &key).await.status,
        303
    );
    let again = enter(&app, "192.0.2.2:4001", Some("203.0.113.5"), "rt_wrong").await;
    assert_eq!(again.status, 429);
}

#[tokio::test]
async fn behind_a_proxy_that_the_settings_name_each_address_counts_for_itself() {
    let mut settings = Settings::default();
    settings.http.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    let app = App::start(false, settings).await;
    let key = app.key(Role::Read).await;
    let proxy = "10.0.0.1:4000";
    try_many(&app, proxy, Some("192.0.2.1")).await;
    assert_eq!(
        enter(&app, proxy, Some("198.51.100.7"), &key).await.status,
        303
    );
    let lied = enter(&app, proxy, Some("198.51.100.9, 192.0.2.1"), "rt_wrong").await;
    assert_eq!(
        lied.status, 429,
        "what came before the proxy's own word counts for nothing"
    );
}
