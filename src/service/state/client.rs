//! From where a request comes, as far as that can be told.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};
use ipnet::IpNet;

use super::AppState;

/// The header in which proxies say for whom they ask.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of who asks; `None` where there is no connection, as in tests. An IPv6 address stands for its
/// network of 64 bits, which one site has to itself.
///
/// A proxy is asked for whom it asks only where the settings name it: anyone can send its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub Option<IpAddr>);

impl FromRequestParts<AppState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let proxies = &state.settings.http.trusted_proxies;
        Ok(Self(peer.map(|ConnectInfo(peer)| {
            site(origin(peer.ip(), &parts.headers, proxies))
        })))
    }
}

/// The last address in the chain of proxies that is none of ours.
fn origin(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let named = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let chain: Vec<&str> = named.flat_map(|list| list.split(',')).collect();
    let mut origin = peer.to_canonical();
    for next in chain.into_iter().rev() {
        match next.trim().parse::<IpAddr>() {
            Ok(next) if is_among(proxies, origin) => origin = next.to_canonical(),
            _ => break,
        }
    }

    origin
}

fn is_among(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The address, or of IPv6 the network that one site has to itself.
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, axum::http::HeaderValue::from_static(value));
        }
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        site(origin(peer.parse().unwrap(), &headers, &proxies)).to_string()
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        assert_eq!(asked("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn our_proxies_say_for_whom_they_ask_and_what_they_were_told_before_counts_for_nothing() {
        assert_eq!(
            asked("10.0.0.1", &["203.0.113.9, 198.51.100.7"]),
            "198.51.100.7"
        );
        assert_eq!(
            asked("10.0.0.1", &["198.51.100.7", "10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(asked("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(asked("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn an_ipv6_address_stands_for_its_site() {
        assert_eq!(asked("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
    }
}
