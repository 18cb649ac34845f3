//! For whom a request is, where a listener is for this machine only.
//!
//! Whatever shows its answers to every program of this machine shows them to a browser's pages too, unless it asks for what
//! name they came: a page's own name can be made to mean 127.0.0.1 (DNS rebinding), and the browser then takes the answer
//! for the page's. The name that it sends along stays the page's.

use std::net::IpAddr;

use hyper::http::{HeaderValue, Request, header};

/// True when there is a name, and each that is there means this machine and nothing else.
pub(super) fn is_this_machine<B>(request: &Request<B>) -> bool {
    let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let hosts = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let mut names = target.into_iter().chain(hosts).peekable();
    names.peek().is_some() && names.all(is_here)
}

/// `localhost` or a loopback address, with or without a port. No other name: what it means is for others to say.
fn is_here(named: &[u8]) -> bool {
    let Ok(named) = std::str::from_utf8(named) else { return false };
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let host = match named.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => named,
    };
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = match inside {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    };
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_names_mean_it() {
        for name in [
            "localhost",
            "LocalHost:8444",
            "127.0.0.1",
            "127.0.0.1:8444",
            "127.1.2.3:1",
            "[::1]",
            "[::1]:8444",
        ] {
            assert!(is_here(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            ":8444",
            "evil.example",
            "localhost.evil.example",
            "evil.example:localhost",
            "localhost:8444:8444",
            "localhost@evil.example",
            "localhost.",
            "10.0.0.1",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "::1",
            "::1:8444",
            "[127.0.0.1]",
            "[::1",
            "[::2]:8444",
            "[::1].evil.example",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(!is_here(name.as_bytes()), "{name}");
        }
        assert!(!is_here(b"\xff"));
    }

    #[test]
    fn every_name_in_a_request_counts() {
        let named = |target: &str, hosts: &[&str]| {
            let request = Request::get(target);
            let request = hosts.iter().fold(request, |request, host| request.header("host", *host));
            is_this_machine(&request.body(()).unwrap())
        };
        assert!(named("/metrics", &["localhost"]));
        assert!(named("https://localhost:8444/metrics", &[]));
        assert!(!named("/metrics", &[]));
        assert!(!named("/metrics", &["evil.example"]));
        assert!(!named("/metrics", &["localhost", "evil.example"]));
        assert!(!named("http://evil.example/metrics", &["localhost"]));
        assert!(!named("http://localhost/metrics", &["evil.example"]));
    }
}
