//! Where notices may go: what an address must look like, and which networks may be reached.
//!
//! *Invariant:* the addresses that a name resolves to are looked at when a connection is made, and it is made to those and
//! no others: a name that resolves otherwise the next time gains nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;

/// Resolves names to addresses that may be reached.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Arc<[IpNet]>,
}

impl Guard {
    #[must_use]
    pub fn new(allow: &[IpNet]) -> Self {
        Self { allow: allow.into() }
    }

    /// Whether this address may be reached.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|net| net.contains(&address)) || is_public(address)
    }

    /// Whether an address without a name may be reached: no resolver is asked for those.
    pub(super) fn permits_host(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        host.parse::<IpAddr>().map_or(true, |address| self.permits(address))
    }

    async fn resolve(self, name: Name) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
        let permitted: Vec<SocketAddr> = all.filter(|one| self.permits(one.ip())).collect();
        if permitted.is_empty() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, FORBIDDEN));
        }
        Ok(permitted.into_iter())
    }
}

impl tower::Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}

/// What a webhook's address must look like: https, or http on a loopback address.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<Uri, String> {
    let wrong = |fault: &str| format!("`{url}` cannot be told anything: {fault}");
    if url.len() > URL_BYTES_MAX || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("it must be up to 512 plain characters"));
    }
    let uri: Uri = url.parse().map_err(|_| wrong("it is no address"))?;
    let host = uri.host().unwrap_or_default();
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if host.is_empty() || authority.contains('@') || url.contains('#') {
        return Err(wrong("it must name a host, without a user and without a `#`"));
    }
    let bare = host.trim_matches(['[', ']']);
    let loopback = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if loopback => Ok(uri),
        _ => Err(wrong("it must begin with `https://` (`http://` only on a loopback address)")),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |net: &[u8; 4], length: u32| {
        (address.to_bits() ^ u32::from_be_bytes(*net)).leading_zeros() >= length
    };
    !SPECIAL_V4.iter().any(|(net, length)| within(net, *length))
}

/// Global unicast (`2000::/3`) without documentation and benchmarks; what carries an IPv4 address is judged by that.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 and 6to4 carry an IPv4 address
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_public_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
        }
        // Teredo carries two, hidden; protocol assignments, documentation
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

/// IANA's special-purpose registry for IPv4 (RFC 6890), without what is globally reachable.
const SPECIAL_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // link-local: also where clouds keep their metadata
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // multicast, reserved, broadcast
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];
pub(super) const FORBIDDEN: &str = "every address of this host is one that notices may not go to";
const URL_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached_unless_the_configuration_says_so() {
        let guard = Guard::default();
        let permits = |text: &str| guard.permits(text.parse().unwrap());
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.5",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1::1",
            "4000::1",
        ] {
            assert!(!permits(text), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(permits(text), "{text}");
        }
        let allowing = Guard::new(&["127.0.0.0/8".parse().unwrap()]);
        assert!(allowing.permits("127.0.0.1".parse().unwrap()));
        assert!(allowing.permits("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!allowing.permits("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_address_is_https_without_tricks() {
        for url in [
            "https://a.example/x?y=1",
            "https://[2606:4700::1]:8443/",
            "http://127.0.0.1:9/a",
            "http://localhost/",
        ] {
            check_url(url).unwrap();
        }
        for url in [
            "http://a.example/",
            "ftp://a.example/",
            "a.example",
            "/a",
            "https://",
            "https://u:p@a.example/",
            "https://u@a.example/",
            "https://a.example/#x",
            "https://a.example/\u{e9}",
            "https://a b/",
            "http://10.0.0.1/",
            "http://127.0.0.1.a.example/",
            "file:///etc/passwd",
            "https:///a",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
        assert!(check_url(&format!("https://a.example/{}", "x".repeat(512))).is_err());
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_not_reached() {
        let name: Name = "localhost".parse().unwrap();
        let error = Guard::default().resolve(name.clone()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let allowing = Guard::new(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(allowing.resolve(name).await.unwrap().next().is_some());
    }
}
