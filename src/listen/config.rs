//! What an operator may set about a listener, and the limits with their arithmetic.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to bind. Without `tls` only a loopback address is taken.
    pub address: SocketAddr,
    #[serde(default)]
    pub tls: Option<Tls>,
    #[serde(default)]
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file: the leaf first, then its chain.
    pub certificate: PathBuf,
    /// PEM file: the private key of the leaf (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
    #[serde(default)]
    pub client_certificates: ClientCertificates,
    /// PEM files: the CAs that client certificates are verified against.
    #[serde(default)]
    pub client_cas: Vec<PathBuf>,
    /// Milliseconds between looks at the files.
    #[serde(default = "reload_poll_ms")]
    pub reload_poll_ms: u64,
}

impl Config {
    /// Nobody reaches it but from this machine, or with a certificate of the configured CAs.
    #[must_use]
    pub fn is_for_known_peers(&self) -> bool {
        self.address.ip().is_loopback() || self.wants_certificates()
    }

    /// Every program of this machine reaches it, and nobody is asked who they are.
    pub(super) fn is_open_here(&self) -> bool {
        self.address.ip().is_loopback() && !self.wants_certificates()
    }

    fn wants_certificates(&self) -> bool {
        let required = |tls: &Tls| tls.client_certificates == ClientCertificates::Required;
        self.tls.as_ref().is_some_and(required)
    }

    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.tls.iter_mut().flat_map(|tls| {
            [&mut tls.certificate, &mut tls.key].into_iter().chain(&mut tls.client_cas)
        })
    }
}

/// Whether the client must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    #[default]
    None,
    Optional,
    Required,
}

/// Limits of the wire; each default is a constant below.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections, handshakes included; one more is closed at once. Fewer where the process may not open five files for each.
    pub connections: usize,
    /// How much of `connections` one network of clients (/24 or /48) may take, in percent. This machine's own are not counted
    /// so, nor are clients that must show a certificate. A proxy, a NAT or a cluster in front is one network: 100 then, and the
    /// share is the proxy's to keep.
    pub network_share_percent: u8,
    pub handshake_ms: u64,
    /// From the first byte of an HTTP/1 head to its last.
    pub head_read_ms: u64,
    /// A connection with nothing in flight for this long is closed; so is one whose client reads nothing, and a stream of which
    /// it takes nothing.
    pub idle_ms: u64,
    /// Then the client is told to reconnect, so that a rotated certificate or a changed CA takes hold.
    pub connection_age_ms: u64,
    /// From then on what is still under way may take so long, and is dropped.
    pub last_answer_ms: u64,
    /// From the soft stop until what is left is dropped.
    pub drain_ms: u64,
    /// Concurrent streams on one HTTP/2 connection.
    pub h2_streams: u32,
    /// Bytes a second that a request body must keep up on average, once the grace is over.
    pub body_rate_min: u32,
    pub body_grace_ms: u64,
    /// A body that is not whole by then is cut, at whatever rate.
    pub body_read_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            network_share_percent: NETWORK_SHARE_PERCENT,
            handshake_ms: HANDSHAKE_MS,
            head_read_ms: HEAD_READ_MS,
            idle_ms: IDLE_MS,
            connection_age_ms: CONNECTION_AGE_MS,
            last_answer_ms: LAST_ANSWER_MS,
            drain_ms: DRAIN_MS,
            h2_streams: H2_STREAMS,
            body_rate_min: BODY_RATE_MIN,
            body_grace_ms: BODY_GRACE_MS,
            body_read_ms: BODY_READ_MS,
        }
    }
}

impl Limits {
    pub(super) const fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }
    pub(super) const fn head_read(&self) -> Duration {
        Duration::from_millis(self.head_read_ms)
    }
    pub(super) const fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
    pub(super) const fn connection_age(&self) -> Duration {
        Duration::from_millis(self.connection_age_ms)
    }
    /// When a connection ends in any case, from its beginning.
    pub(super) const fn end(&self) -> Duration {
        Duration::from_millis(self.connection_age_ms.saturating_add(self.last_answer_ms))
    }
    pub(super) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
    /// Connections of one network.
    pub(super) fn network_share(&self) -> usize {
        let share = self.connections.saturating_mul(self.network_share_percent.into()) / 100;
        share.max(1)
    }
}

/// Why a listener cannot start, or why new files were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "`{0}` is not a loopback address: a listener without `tls` serves only this machine; add a `tls` section"
    )]
    PlainBeyondLoopback(SocketAddr),
    #[error("`{0}` must be greater than 0")]
    Zero(&'static str),
    #[error("`network_share_percent` is {0}: at most 100")]
    Share(u8),
    #[error("`client_cas` is empty: client certificates need a CA to be verified against")]
    NoClientCa,
    #[error("cannot bind `{address}`: {cause}")]
    Bind { address: SocketAddr, cause: std::io::Error },
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("`{}` holds no usable PEM: {cause}", path.display())]
    Pem { path: PathBuf, cause: String },
    #[error("certificate and key do not work together: {0}")]
    Tls(rustls::Error),
    #[error("the client CAs are not usable: {0}")]
    ClientCa(String),
}

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match &self.tls {
            None if !self.address.ip().is_loopback() => {
                return Err(ConfigError::PlainBeyondLoopback(self.address));
            }
            Some(tls)
                if tls.client_certificates != ClientCertificates::None
                    && tls.client_cas.is_empty() =>
            {
                return Err(ConfigError::NoClientCa);
            }
            _ => {}
        }
        let limits = &self.limits;
        let zeros = [
            ("connections", limits.connections == 0),
            ("network_share_percent", limits.network_share_percent == 0),
            ("handshake_ms", limits.handshake_ms == 0),
            ("head_read_ms", limits.head_read_ms == 0),
            ("idle_ms", limits.idle_ms < IDLE_LOOKS.into()),
            ("connection_age_ms", limits.connection_age_ms == 0),
            ("h2_streams", limits.h2_streams == 0),
            ("body_rate_min", limits.body_rate_min == 0),
            ("reload_poll_ms", self.tls.as_ref().is_some_and(|tls| tls.reload_poll_ms == 0)),
        ];
        match zeros.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None if limits.network_share_percent > 100 => {
                Err(ConfigError::Share(limits.network_share_percent))
            }
            None => Ok(()),
        }
    }
}

const fn reload_poll_ms() -> u64 {
    RELOAD_POLL_MS
}

/// About 60 KiB each with TLS buffers and one request: 4,096 is 240 MiB at the very worst, 60 MiB when idle.
const CONNECTIONS: usize = 4_096;
/// 1,024 connections from one /24: an organisation behind one address has room, and it takes four such networks to fill all.
const NETWORK_SHARE_PERCENT: u8 = 25;
/// Two round trips across the world (2 x 300 ms), a lost packet (1 s) and a slow device, with room.
const HANDSHAKE_MS: u64 = 5_000;
const HEAD_READ_MS: u64 = 5_000;
const IDLE_MS: u64 = 60_000;
/// One hour: a certificate rotated daily is in use everywhere within an hour, and a handshake an hour costs nothing.
const CONNECTION_AGE_MS: u64 = 3_600_000;
/// Four hours. A stream has no limit of its own while its pieces come; 131,072 tokens at 20 a second take 1.8 hours. Without an
/// end, one that drips would hold its connection for as long as its client likes.
const LAST_ANSWER_MS: u64 = 14_400_000;
/// Orchestrators kill after 30 s; five are left for the log and the pools.
const DRAIN_MS: u64 = 25_000;
const H2_STREAMS: u32 = 100;
/// 16 KiB/s is a poor mobile line; a client slower than that holds memory that others need.
const BODY_RATE_MIN: u32 = 16 * 1_024;
const BODY_GRACE_MS: u64 = 10_000;
/// 20 MiB at 175 KiB/s.
const BODY_READ_MS: u64 = 120_000;
/// New certificate files are in use within this time.
const RELOAD_POLL_MS: u64 = 5_000;

/// Bytes of one request head, all its lines.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1_024;
/// Fields of one request head; also hyper's own limit for HTTP/1.
pub(super) const HEAD_FIELDS_MAX: usize = 100;
/// hyper's read and write buffer for one HTTP/1 connection: one whole head and as much again.
pub(super) const BUFFER_BYTES_MAX: usize = 64 * 1_024;
/// How often within the idle limit a connection is looked at: it closes between 1 and 1.25 times the limit.
pub(super) const IDLE_LOOKS: u32 = 4;
/// HTTP/2 flow control: what one stream, and one connection, may have under way to us.
pub(super) const H2_STREAM_WINDOW: u32 = 256 * 1_024;
pub(super) const H2_CONNECTION_WINDOW: u32 = 1_024 * 1_024;
/// Bytes buffered for sending on one stream.
pub(super) const H2_SEND_BUFFER: usize = 64 * 1_024;
/// An answer is handed on in pieces of one frame: a client that takes less than that within the idle limit takes nothing.
pub(super) const H2_PIECE: usize = 16 * 1_024;
/// A stream that is reset before it was served (CVE-2023-44487): this many pending, then GOAWAY.
pub(super) const H2_RESETS_PENDING_MAX: usize = 20;
/// Resets that a client can make us send (CVE-2025-8671): this many in all, then GOAWAY.
pub(super) const H2_RESETS_LOCAL_MAX: usize = 256;
/// A silent connection with streams in flight is asked for a sign of life, and dropped without an answer.
pub(super) const H2_PING_EVERY: Duration = Duration::from_secs(20);
pub(super) const H2_PING_ANSWER: Duration = Duration::from_secs(20);
/// After an early refusal the rest of the body is read and dropped for this long and this far, because closing with
/// unread bytes makes the kernel send a reset, which destroys the answer on its way to the client.
pub(super) const LINGER: Duration = Duration::from_secs(1);
pub(super) const LINGER_BYTES_MAX: usize = 256 * 1_024;
