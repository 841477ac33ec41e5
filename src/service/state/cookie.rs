//! The dashboard's cookie: a key, kept by the browser.
//!
//! The API takes it too, for reading alone, so that the pages' links to files work. Being
//! SameSite=Strict it comes with no request that another site causes.

use axum::http::{HeaderMap, header};

/// The cookie's name.
pub const NAME: &str = "retune_key";

/// The key in the request's cookies.
pub fn read(headers: &HeaderMap) -> Option<&str> {
    named(headers, NAME)
}

/// The value of one of the request's cookies.
pub fn named<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);
        headers.insert(header::COOKIE, "a=b; retune_key=rt_x; c=d".parse().unwrap());
        assert_eq!(read(&headers), Some("rt_x"));
        headers.insert(header::COOKIE, "not_retune_key=rt_x".parse().unwrap());
        assert_eq!(read(&headers), None);
    }
}
