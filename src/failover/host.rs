//! One server as the configuration names it: `host`, `host:port`, `[IPv6]:port`, or the directory of a unix socket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Host {
    at: At,
    /// That of the URL when it is absent.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Name(String),
    Socket(PathBuf),
}

/// It names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no server: write host, host:port, or the directory of a unix socket")]
pub struct HostError(String);

impl Host {
    /// How this server is reached, with everything else as in `options`.
    #[must_use]
    pub fn of(&self, options: &PgConnectOptions) -> PgConnectOptions {
        let options = match self.port {
            Some(port) => options.clone().port(port),
            None => options.clone(),
        };
        match &self.at {
            At::Name(name) => options.host(name),
            At::Socket(path) => options.socket(path),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = || HostError(text.to_owned());
        if text.starts_with('/') {
            return Ok(Self { at: At::Socket(text.into()), port: None });
        }
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, rest)) => (name, rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, Some("")),
            },
        };
        let port = match port.ok_or_else(wrong)? {
            "" if text.ends_with(':') => return Err(wrong()),
            "" => None,
            port => Some(port.parse().map_err(|_| wrong())?),
        };
        let usable = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '/');
        if !usable {
            return Err(wrong());
        }
        Ok(Self { at: At::Name(name.to_owned()), port })
    }
}

impl TryFrom<String> for Host {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Name(name) if name.contains(':') => write!(out, "[{name}]")?,
            At::Name(name) => write!(out, "{name}")?,
            At::Socket(path) => write!(out, "{}", path.display())?,
        }
        self.port.map_or(Ok(()), |port| write!(out, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    //! Each way to name a server, and what names none.

    use super::*;

    #[test]
    fn servers_are_named_as_people_write_them() {
        for text in [
            "db-1",
            "db-1.internal:5433",
            "10.0.0.7:5432",
            "[fd00::7]:5432",
            "[fd00::7]",
            "/run/pg",
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!(host.to_string(), text);
        }
        let base = PgConnectOptions::new_without_pgpass().host("first").port(6000);
        let host: Host = "db-2".parse().unwrap();
        assert_eq!((host.of(&base).get_host(), host.of(&base).get_port()), ("db-2", 6000));
        let host: Host = "db-2:7000".parse().unwrap();
        assert_eq!(host.of(&base).get_port(), 7000);
        for text in ["", ":5432", "db:", "db:x", "db:70000", "a b", "[fd00::7]x", "db/haetae"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
