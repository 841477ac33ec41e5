//! Which hub, and the token that it is asked with.

use url::Url;

const ENDPOINT: &str = "https://huggingface.co";
/// The variables that the hub's own library reads.
const ENDPOINT_VARIABLE: &str = "HF_ENDPOINT";
pub const TOKEN_VARIABLE: &str = "HF_TOKEN";

/// A hub. Its token comes from the environment, and of a tenant that has one of its own, from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubConfig {
    /// None: `HF_ENDPOINT`, or the public hub.
    pub endpoint: Option<String>,
    /// Whether the endpoint may be plain http.
    pub allow_http: bool,
    pub token: Option<HubToken>,
}

/// A token that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct HubToken(String);

impl HubToken {
    /// `None` for an empty text.
    pub fn new(text: String) -> Option<Self> {
        Some(Self(text)).filter(|token| !token.0.is_empty())
    }

    /// For a request's header.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl std::fmt::Debug for HubToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HubToken(…)")
    }
}

impl HubConfig {
    /// What is not set here, from the environment.
    fn endpoint(&self) -> String {
        let own = self
            .endpoint
            .clone()
            .or_else(|| std::env::var(ENDPOINT_VARIABLE).ok());
        own.filter(|text| !text.is_empty())
            .unwrap_or_else(|| ENDPOINT.to_owned())
    }

    pub(super) fn token(&self) -> Option<HubToken> {
        let own = self.token.clone();
        own.or_else(|| std::env::var(TOKEN_VARIABLE).ok().and_then(HubToken::new))
    }

    /// The address of the hub.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn address(&self) -> Result<Url, String> {
        let text = self.endpoint();
        let address = Url::parse(text.trim_end_matches('/'));
        let address = address.map_err(|error| format!("the hub's address {text:?}: {error}"))?;
        match address.scheme() {
            "https" => Ok(address),
            "http" if self.allow_http => Ok(address),
            "http" => {
                Err("the hub is not https; set storage.hub.allow_http if that is meant".into())
            }
            other => Err(format!(
                "the hub's address has the scheme {other:?}; write https://host"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str, allow_http: bool) -> Result<String, String> {
        let config = HubConfig {
            endpoint: Some(endpoint.into()),
            allow_http,
            ..HubConfig::default()
        };
        config.address().map(|url| url.to_string())
    }

    #[test]
    fn plain_http_has_to_be_allowed() {
        assert!(
            at("http://hub.example", false)
                .unwrap_err()
                .contains("storage.hub.allow_http")
        );
        assert_eq!(
            at("http://hub.example/", true).as_deref(),
            Ok("http://hub.example/")
        );
        assert_eq!(
            at("https://hub.example/a", false).as_deref(),
            Ok("https://hub.example/a")
        );
        assert!(at("ftp://hub.example", true).is_err());
        assert!(at("hub", true).is_err());
    }

    #[test]
    fn a_token_is_not_shown() {
        let config = HubConfig {
            token: HubToken::new("hf_secret".into()),
            ..HubConfig::default()
        };
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(HubToken::new(String::new()), None);
    }
}
