//! For whom the request is: Host, `:authority` and an absolute target say one name, and it is ours.

use hyper::http::request::Parts;
use hyper::http::{HeaderValue, StatusCode, Version, header};
use verdict::reason::Reason;

use super::StrictError;

/// The names under which this gateway is addressed. An entry with a port matches that port only, one without a port
/// matches any: behind a port mapping the client's port is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities(Vec<Authority>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("`{0}` is not an authority: write `host` or `host:port`")]
    Invalid(String),
    #[error(
        "no authority is configured: name at least one host under which clients reach the gateway"
    )]
    Empty,
}

impl Authorities {
    pub fn new<T: AsRef<str>>(
        entries: impl IntoIterator<Item = T>,
    ) -> Result<Self, AuthorityError> {
        let mut authorities = Vec::new();
        for entry in entries {
            let entry = entry.as_ref();
            let (host, port) =
                split(entry.as_bytes()).ok_or_else(|| AuthorityError::Invalid(entry.to_owned()))?;
            authorities.push(Authority { host: host.to_ascii_lowercase(), port });
        }
        if authorities.is_empty() { Err(AuthorityError::Empty) } else { Ok(Self(authorities)) }
    }

    fn has(&self, host: &str, port: Option<u16>) -> bool {
        self.0.iter().any(|ours| {
            ours.host.eq_ignore_ascii_case(host)
                && ours.port.is_none_or(|ours| ours == port.unwrap_or(HTTPS))
        })
    }
}

pub(super) fn check(head: &Parts, authorities: &Authorities) -> Result<(), StrictError> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(host_invalid("host_repeated", "send `host` once"));
    }
    let named = match (host.map(HeaderValue::as_bytes), head.uri.authority()) {
        (None, Some(target)) if head.version == Version::HTTP_2 => target.as_str().as_bytes(),
        (None, _) => return Err(host_invalid("host_missing", "send `host`")),
        (Some(host), None) => host,
        (Some(host), Some(target)) if host.eq_ignore_ascii_case(target.as_str().as_bytes()) => host,
        (Some(_), Some(_)) => {
            return Err(host_invalid(
                "host_conflicts_with_target",
                "`host` and the request target name different authorities",
            ));
        }
    };
    let (host, port) = split(named)
        .ok_or_else(|| host_invalid("host_invalid", "`host` is a host name and perhaps a port"))?;
    if authorities.has(host, port) {
        return Ok(());
    }
    Err(StrictError {
        status: StatusCode::MISDIRECTED_REQUEST,
        reason: Reason::AuthorityMismatch,
        rule: "authority_not_ours",
        message: "this gateway does not serve that authority",
    })
}

/// `host [":" port]` without user information, percent signs or anything else to disagree about.
fn split(text: &[u8]) -> Option<(&str, Option<u16>)> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= AUTHORITY_BYTES_MAX)?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            inside.parse::<std::net::Ipv6Addr>().ok()?;
            let host = text.get(..inside.len() + 2)?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let named = host.starts_with('[')
        || (!host.is_empty() && host.bytes().all(plain) && !host.starts_with(['.', '-']));
    if !named {
        return None;
    }
    match port {
        None => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).map(|port| (host, Some(port)))
        }
        Some(_) => None,
    }
}

const fn host_invalid(rule: &'static str, message: &'static str) -> StrictError {
    StrictError { status: StatusCode::BAD_REQUEST, reason: Reason::HostInvalid, rule, message }
}

const HTTPS: u16 = 443;
/// A DNS name has at most 253 bytes; the port and its colon six.
const AUTHORITY_BYTES_MAX: usize = 259;
