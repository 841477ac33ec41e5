//! Where webhooks may go: public addresses, unless the settings allow others.
//!
//! Whoever may add an endpoint makes this service post to an address of their choice, from inside
//! its network. So a URL is checked when it is given and again before each attempt, and a name's
//! addresses are filtered in the resolver that the connection itself uses: a name that resolves to
//! something else between check and connection (rebinding) gains nothing.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
};

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::config;

/// Special networks (IANA's registries): private, loopback, link-local with the clouds' metadata
/// addresses, carrier-grade NAT, documentation, benchmarks, multicast, reserved, and those IPv6
/// networks of the global range that embed or tunnel other addresses.
const SPECIAL: [&str; 20] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
];

/// All of IPv6 that is routed globally; everything else is special.
const GLOBAL_V6: &str = "2000::/3";

static REFUSED: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    SPECIAL
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
});
static GLOBAL: LazyLock<Option<IpNet>> = LazyLock::new(|| GLOBAL_V6.parse().ok());

/// Longest accepted URL, in bytes.
const URL_LIMIT: usize = 2048;

/// Why nothing is posted to a URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("must be an absolute URL of at most {URL_LIMIT} bytes, as https://example.com/hook")]
    NotAUrl,
    #[error("must not contain a user or a password")]
    Credentials,
    #[error("must be https; plain http is for private addresses that the settings allow")]
    Scheme,
    #[error("is a private or special address; webhooks.allowed_networks can allow it")]
    Special,
    #[error("has no address that webhooks may go to; webhooks.allowed_networks can allow more")]
    NoAllowedAddress,
}

/// What the settings allow.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow_private: bool,
    allowed: Vec<IpNet>,
}

impl From<&config::Webhooks> for Guard {
    fn from(settings: &config::Webhooks) -> Self {
        Self {
            allow_private: settings.allow_private,
            allowed: settings.allowed_networks.clone(),
        }
    }
}

impl Guard {
    /// Whether a connection to this address may be opened.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow_private || !is_special(address) || self.is_listed(address)
    }

    fn is_listed(&self, address: IpAddr) -> bool {
        self.allowed
            .iter()
            .any(|network| network.contains(&address))
    }

    /// Reads a URL that may be posted to. A name is not resolved here; see [`Guard::resolver`].
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn check(&self, text: &str) -> Result<Url, AddressError> {
        let url = Url::parse(text).map_err(|_| AddressError::NotAUrl)?;
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address).to_canonical()),
            Some(Host::Domain(name)) if is_local(name) && !self.allow_private => {
                return Err(AddressError::Special);
            }
            Some(Host::Domain(_)) => None,
            None => return Err(AddressError::NotAUrl),
        };
        if text.len() > URL_LIMIT {
            return Err(AddressError::NotAUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials);
        }
        if literal.is_some_and(|address| !self.allows(address)) {
            return Err(AddressError::Special);
        }

        let private = self.allow_private || literal.is_some_and(|address| self.is_listed(address));

        match url.scheme() {
            "https" => Ok(url),
            "http" if private => Ok(url),
            _ => Err(AddressError::Scheme),
        }
    }

    /// A resolver that names allowed addresses alone.
    pub fn resolver(self: &Arc<Self>, lookup: Lookup) -> impl Resolve + use<> {
        Resolver {
            guard: Arc::clone(self),
            lookup,
        }
    }
}

/// `localhost` is this machine whatever a name server says (RFC 6761).
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn is_special(address: IpAddr) -> bool {
    let outside = address.is_ipv6() && !GLOBAL.is_some_and(|global| global.contains(&address));
    outside || REFUSED.iter().any(|network| network.contains(&address))
}

/// Finds a name's addresses.
pub type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The system's resolver.
pub fn lookup() -> Lookup {
    Arc::new(|name| {
        // The port is the URL's, put in later.
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    })
}

struct Resolver {
    guard: Arc<Guard>,
    lookup: Lookup,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let mut found = found.await?;
            found.retain(|address| guard.allows(address.ip()));
            if found.is_empty() {
                return Err(AddressError::NoAllowedAddress.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow_private: bool, allowed: &[&str]) -> Guard {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Guard {
            allow_private,
            allowed,
        }
    }

    #[test]
    fn every_special_network_is_read() {
        assert_eq!(REFUSED.len(), SPECIAL.len());
        assert!(GLOBAL.is_some());
    }

    #[test]
    fn special_addresses_are_refused_in_every_spelling() {
        let strict = guard(false, &[]);
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "192.0.0.192",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[fec0::1]",
            "localhost",
            "localhost.",
            "a.localhost",
            "LOCALHOST",
        ] {
            let refused = strict.check(&format!("https://{host}/hook"));
            assert_eq!(refused, Err(AddressError::Special), "{host}");
        }
        for host in [
            "93.184.216.34",
            "[2606:4700::1111]",
            "example.com",
            "172.32.0.1",
        ] {
            assert!(
                strict.check(&format!("https://{host}/hook")).is_ok(),
                "{host}"
            );
        }
    }

    #[test]
    fn plain_http_is_for_allowed_private_addresses() {
        let url = "http://10.1.2.3:8080/hook";
        assert_eq!(guard(false, &[]).check(url), Err(AddressError::Special));
        assert!(guard(true, &[]).check(url).is_ok());
        let listed = guard(false, &["10.1.0.0/16", "fd12::/16"]);
        assert!(listed.check(url).is_ok());
        assert!(listed.check("http://[::ffff:10.1.2.3]/").is_ok());
        assert!(listed.check("http://[fd12::1]/").is_ok());
        assert_eq!(
            listed.check("https://10.2.0.1/"),
            Err(AddressError::Special)
        );
        for url in [
            "http://93.184.216.34/",
            "http://example.com/",
            "ftp://example.com/",
        ] {
            assert_eq!(listed.check(url), Err(AddressError::Scheme), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_for_a_webhook_is_refused() {
        let open = guard(true, &[]);
        for url in ["", "hook", "/hook", "mailto:a@example.com", "https://"] {
            assert_eq!(open.check(url), Err(AddressError::NotAUrl), "{url}");
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_LIMIT));
        assert_eq!(open.check(&long), Err(AddressError::NotAUrl));
        for url in [
            "https://a@example.com/",
            "https://a:b@example.com/",
            "https://:b@example.com/",
        ] {
            assert_eq!(open.check(url), Err(AddressError::Credentials), "{url}");
        }
    }

    #[tokio::test]
    async fn the_resolver_names_allowed_addresses_alone() {
        let found = |texts: &'static [&'static str]| -> Lookup {
            Arc::new(move |_| {
                let found = texts.iter().map(|text| text.parse().unwrap()).collect();
                Box::pin(async move { Ok(found) })
            })
        };
        let resolve = async |texts| {
            let resolver = Arc::new(guard(false, &[])).resolver(found(texts));
            let named = resolver.resolve("example.com".parse().unwrap()).await;
            named.map(|addresses| addresses.map(|one| one.to_string()).collect::<Vec<_>>())
        };
        let mixed = resolve(&["127.0.0.1:0", "93.184.216.34:0", "[::1]:0"]).await;
        assert_eq!(mixed.unwrap(), ["93.184.216.34:0"]);
        let private = resolve(&["169.254.169.254:0"]).await.unwrap_err();
        assert_eq!(
            private.downcast_ref(),
            Some(&AddressError::NoAllowedAddress)
        );
    }
}
