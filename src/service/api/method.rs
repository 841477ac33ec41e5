//! Methods of requests, as logs and metrics call them.

use axum::http::Method;

/// The method's name if it is one of the known ones, else `other`: a method can be any word.
pub fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}
