//! Guards a service that runs open on this machine from the web pages its user visits.
//!
//! A page elsewhere can point a name of its own at 127.0.0.1 (its requests then carry that name in
//! `Host`), or post a form across sites (`Sec-Fetch-Site` says so). Neither may reach a service
//! that asks nobody for a key.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    AppState,
    problem::{Problem, ProblemCode},
};

pub async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if is_ours(request.method(), request.headers()) {
        return next.run(request).await;
    }

    match state.is_open().await {
        Ok(true) => {}
        Ok(false) => return next.run(request).await,
        Err(error) => return Problem::from(error).into_response(),
    }

    Problem::new(
        ProblemCode::ForeignOrigin,
        "without keys this service answers only this machine, by the name localhost or 127.0.0.1; \
         make a key by `retune keys create` to use another",
    )
    .into_response()
}

fn is_ours(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    let foreign = matches!(text("sec-fetch-site"), Some("cross-site" | "same-site"));
    text("host").is_none_or(is_loopback) && (method.is_safe() || !foreign)
}

/// `127.0.0.1:8080`, `[::1]:8080`, `localhost`.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_and_no_others() {
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "127.1.2.3",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "127.0.0.1.evil",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn another_site_may_link_but_not_post() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "sec-fetch-site",
            header::HeaderValue::from_static("cross-site"),
        );
        assert!(is_ours(&Method::GET, &headers));
        assert!(!is_ours(&Method::POST, &headers));
        headers.insert(
            "sec-fetch-site",
            header::HeaderValue::from_static("same-origin"),
        );
        assert!(is_ours(&Method::POST, &headers));
    }
}
