//! What anybody may fetch of the log: the read side of C2SP tlog-tiles over HTTP, a prefix for each lane.
//!
//! `<prefix>/checkpoint`, `<prefix>/tile/<L>/<N>[.p/<W>]` for everybody, `<prefix>/tile/entries/<N>[.p/<W>]` and the texts
//! that records name (`<prefix>/text/<SHA-256 in hex>`) for readers with a grant. A lane's prefix is the path of its origin, so that the origin is the address of the log without a scheme.
//!
//! Who read records is told to the log, by minute ([`reads`]).
//!
//! *Invariant:* reads only, with a database login that only reads; no record goes to anybody who is not a reader of the
//! configuration, since no organisation can grant what belongs to all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use quick_cache::sync::Cache;
use sqlx::PgPool;
use tlog::Hash;
use tlog::tile::{self, Id, Resource, WIDTH};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Audit, AuditError};
use crate::caller::{Caller, CallerError, Callers, Connection};
use crate::clock::Clock;

mod config;
mod reads;

pub use config::{Config, Reader};

use reads::Reads;

/// The answers of the log's public listener. Share it behind an `Arc`.
pub struct Tiles {
    pool: PgPool,
    callers: Arc<Callers>,
    readers: Vec<Reader>,
    /// The path of the deployment's origin: `/log` of `gateway.example.kr/log`.
    prefix: String,
    /// Tiles as far as they were given under a checkpoint that was shown: what is signed never changes, and a tile grows at its end.
    given: Cache<(u16, Id), Bytes>,
    /// Records of the largest checkpoint shown of each lane. A cosigned one is preferred to a newer one, and none is shown that is
    /// smaller than one before: a reader may take that for a log that was rolled back.
    shown: Mutex<BTreeMap<u16, u64>>,
    reads: Reads,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Checkpoint,
    Resource(Resource),
    /// By its digest.
    Text([u8; 32]),
}

/// Why there is nothing to give.
enum Without {
    /// No such path, lane, tile or checkpoint, at least not yet.
    NotFound,
    Method,
    /// Entries, and nobody we know asks.
    Unknown,
    /// Entries, and who asks cannot be told: its issuer's keys are not at hand.
    Unchecked,
    /// Entries, and who asks is no reader.
    Forbidden,
    /// Records, and so many read that this reading cannot be counted.
    Uncounted,
    /// The database did not answer, or lacks what it must have.
    Broken(AuditError),
}

impl Tiles {
    /// `origin` is the deployment's; `pool` logs in as a reader.
    #[must_use]
    pub fn new(config: &Config, origin: &str, pool: PgPool, callers: Arc<Callers>) -> Self {
        let prefix = origin.split_once('/').map(|(_, path)| format!("/{path}")).unwrap_or_default();
        let readers = config.readers.clone();
        Self {
            pool,
            callers,
            readers,
            prefix,
            given: Cache::new(TILES_MAX),
            shown: Mutex::default(),
            reads: Reads::default(),
        }
    }

    /// Tells the log every minute who read records, and once more at `stop`.
    pub async fn tell(self: Arc<Self>, audit: Arc<Audit>, clock: Clock, stop: CancellationToken) {
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                () = sleep(TELL_EVERY) => {}
                () = stop.cancelled() => stopping = true,
            }
            self.reads.tell(&audit, clock.unix_s()).await;
        }
    }

    /// The answer to one request. It has no body.
    pub async fn handle(
        &self,
        connection: &Connection,
        request: &Request<()>,
    ) -> Response<Full<Bytes>> {
        match self.answer(connection, request).await {
            Ok(response) => response,
            Err(without) => without.response(),
        }
    }

    async fn answer(
        &self,
        connection: &Connection,
        request: &Request<()>,
    ) -> Result<Response<Full<Bytes>>, Without> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Without::Method);
        }
        let (lane, named) = self.read(request.uri().path()).ok_or(Without::NotFound)?;
        match named {
            Named::Checkpoint => Ok(given(self.checkpoint(lane).await?, TEXT, SHORT)),
            Named::Resource(resource @ Resource::Entries { index, width }) => {
                let reader = self.admit(connection, request.headers()).await?;
                let bytes = audit::resource(&self.pool, lane, resource, &[]).await?;
                let bytes = bytes.ok_or(Without::NotFound)?;
                let from = index.saturating_mul(WIDTH.into());
                let to = from.saturating_add(width.into());
                let counted = self.reads.records(&reader, lane, from, to);
                counted.then_some(()).ok_or(Without::Uncounted)?;
                let signed = self.signed(lane, Id { level: 0, index }, width).await?;
                let keep = if signed < width.into() { NEVER } else { FOR_GOOD_PRIVATE };
                Ok(given(bytes.into(), BYTES, keep))
            }
            Named::Text(digest) => {
                let reader = self.admit(connection, request.headers()).await?;
                // Of a lane that there is: who reads is counted by lane.
                self.checkpoint(lane).await?;
                let bytes = audit::text(&self.pool, &digest).await?;
                let counted = bytes.is_none() || self.reads.text(&reader, lane);
                counted.then_some(()).ok_or(Without::Uncounted)?;
                Ok(given(bytes.ok_or(Without::NotFound)?.into(), BYTES, FOR_GOOD_PRIVATE))
            }
            Named::Resource(Resource::Tile { id, width }) => {
                let (bytes, keep) = self.tile(lane, id, width).await?;
                Ok(given(bytes, BYTES, keep))
            }
        }
    }

    async fn checkpoint(&self, lane: u16) -> Result<Bytes, Without> {
        let before = self.shown().get(&lane).copied().unwrap_or(0);
        let found = audit::checkpoint(&self.pool, lane, before).await?;
        let (size, note) = found.ok_or(Without::NotFound)?;
        let mut all = self.shown();
        let shown = all.entry(lane).or_insert(size);
        *shown = size.max(*shown);
        Ok(note.into())
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<u16, u64>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes, and for how long they may be kept. What no checkpoint covers yet is given too, because receipts name such sizes.
    async fn tile(&self, lane: u16, id: Id, width: u16) -> Result<(Bytes, &'static str), Without> {
        let known = self.given.get(&(lane, id)).unwrap_or_default();
        if width == WIDTH && known.len() == FULL_TILE_BYTES {
            return Ok((known, FOR_GOOD));
        }
        let resource = Resource::Tile { id, width };
        let found = audit::resource(&self.pool, lane, resource, &known).await?;
        let bytes = Bytes::from(found.ok_or(Without::NotFound)?);
        let signed = self.signed(lane, id, width).await? * Hash::BYTES;
        let part = bytes.slice(..signed.min(bytes.len()));
        let keep = if part.len() < bytes.len() { NEVER } else { FOR_GOOD };
        if part.len() > known.len() {
            self.given.insert((lane, id), part);
        }
        Ok((bytes, keep))
    }

    /// How much of a tile is under a published checkpoint, as far as this is asked. Beyond it there may be records that a failover
    /// takes away.
    async fn signed(&self, lane: u16, id: Id, width: u16) -> Result<usize, Without> {
        let known = || tile::width(id, self.shown().get(&lane).copied().unwrap_or(0));
        if known() < width {
            // Nobody asked us for it, or not lately: of a lane that is dead nobody may ever.
            match self.checkpoint(lane).await {
                Ok(_) | Err(Without::NotFound) => {}
                Err(without) => return Err(without),
            }
        }
        Ok(known().into())
    }

    /// Entries are records of every organisation: only for whom the configuration names.
    async fn admit(
        &self,
        connection: &Connection,
        head: &HeaderMap,
    ) -> Result<Arc<Caller>, Without> {
        let caller = self.callers.identify(connection, head).await;
        let caller = caller.map_err(|cause| match cause {
            CallerError::KeysUnavailable => Without::Unchecked,
            _ => Without::Unknown,
        })?;
        let granted = self.readers.iter().any(|reader| {
            *reader.organisation == *caller.org
                && caller.roles.iter().any(|role| **role == *reader.role)
        });
        if granted { Ok(caller) } else { Err(Without::Forbidden) }
    }

    /// `/<prefix>/<lane>/<what>`, each in its only spelling.
    fn read(&self, path: &str) -> Option<(u16, Named)> {
        let rest = path.strip_prefix(&self.prefix)?.strip_prefix('/')?;
        let (number, what) = rest.split_once('/')?;
        let lane: u16 = number.parse().ok().filter(|lane: &u16| lane.to_string() == number)?;
        let named = match what {
            "checkpoint" => Named::Checkpoint,
            text if text.starts_with(TEXTS) => Named::Text(digest(text.strip_prefix(TEXTS)?)?),
            tile => Named::Resource(tile.parse().ok()?),
        };
        Some((lane, named))
    }
}

impl From<AuditError> for Without {
    fn from(cause: AuditError) -> Self {
        Self::Broken(cause)
    }
}

impl Without {
    fn response(self) -> Response<Full<Bytes>> {
        let (status, words) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "the log does not have this\n"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n"),
            Self::Unknown => (
                StatusCode::UNAUTHORIZED,
                "entries are given to known readers: show a token or a client certificate\n",
            ),
            Self::Unchecked => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the keys of your token's issuer cannot be fetched at present: ask again\n",
            ),
            Self::Forbidden => {
                (StatusCode::FORBIDDEN, "entries are given only to readers of the log\n")
            }
            Self::Uncounted => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many read records in this minute\n")
            }
            Self::Broken(AuditError::Content(cause)) => {
                tracing::error!(cause, "a part of the log cannot be served");
                (StatusCode::INTERNAL_SERVER_ERROR, "the log lacks what it should have\n")
            }
            Self::Broken(cause) => {
                tracing::warn!(%cause, "a part of the log cannot be served");
                (StatusCode::SERVICE_UNAVAILABLE, "the log cannot be read at present\n")
            }
        };
        let mut response = given(Bytes::from_static(words.as_bytes()), TEXT, NEVER);
        *response.status_mut() = status;
        let further = match status {
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD")),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = further {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// 64 lower-case hex digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    (hex::encode(digest) == text).then_some(digest)
}

fn given(bytes: Bytes, kind: &'static str, keep: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

const TELL_EVERY: Duration = Duration::from_mins(1);
const TEXTS: &str = "text/";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Checkpoints are published once a second.
const SHORT: &str = "public, max-age=1";
/// A year, and never asked for again: the bytes cannot change.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
/// Only in the reader's own cache: another who asks must be a reader too.
const FOR_GOOD_PRIVATE: &str = "private, max-age=31536000, immutable";
/// What is not there may be there in a second; what no checkpoint covers may be gone then.
const NEVER: &str = "no-store";
/// 8 KiB each: 16 MiB, the tiles of a log of half a million records.
const TILES_MAX: usize = 2_048;
const FULL_TILE_BYTES: usize = WIDTH as usize * Hash::BYTES;
