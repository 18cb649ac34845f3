//! What another's log shows over HTTP (C2SP tlog-tiles): address -> checkpoint, tiles, and for its readers records and texts.
//!
//! *Invariant:* reads only; every answer is bounded, and nothing of it is believed here but what can be told from the bytes
//! (a tile has its hashes, a text its digest, a smaller root its way to the one that whoever asks knows).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http_body_util::Full;
use hyper::http::{Uri, header};
use hyper::{Request, StatusCode};
use sha2::{Digest as _, Sha256};
use tlog::proof::{self, ProofError};
use tlog::tile::{self, Id, Resource, Verified, WIDTH};
use tlog::{Hash, bundle};

use crate::dial::{Http, HttpError, Limits, Own};

mod config;

pub use config::Config;

/// Where the lanes of one deployment are served.
#[derive(Debug, Clone)]
pub struct Remote {
    http: Http,
    /// Without a slash at its end.
    url: String,
    /// Read anew for each request: tokens expire.
    token_file: Option<PathBuf>,
}

/// Why there is nothing to go on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    #[error("{0}")]
    Config(String),
    #[error("`{url}` does not answer: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("`{url}` answers {status}")]
    Status { url: String, status: StatusCode },
    #[error("`{url}` gives {cause}")]
    Content { url: String, cause: &'static str },
}

impl Remote {
    /// # Errors
    /// When the address or a file cannot be used.
    pub fn new(config: &Config) -> Result<Self, RemoteError> {
        let wrong = |cause: String| RemoteError::Config(cause);
        let url = config.url.trim_end_matches('/').to_owned();
        let not_an_address = || {
            wrong(format!(
                "`{url}` is no address of a log: write https://..., or http:// on this machine"
            ))
        };
        let uri: Uri = url.parse().map_err(|_| not_an_address())?;
        let own = match (&config.certificate, &config.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Own { certificate, key }),
            _ => return Err(wrong("`certificate` and `key` go together".to_owned())),
        };
        let http = Http::new(&uri, config.ca.as_deref(), own).map_err(|error| match error {
            HttpError::Address => not_an_address(),
            HttpError::Ca(cause) => wrong(format!("the CA of `{url}`: {cause}")),
            HttpError::Certificate(cause) => wrong(format!("what is shown to `{url}`: {cause}")),
        })?;
        Ok(Self { http, url, token_file: config.token_file.clone() })
    }

    /// The newest published checkpoint of a lane: a signed note, as it came.
    pub async fn checkpoint(&self, lane: u16) -> Result<String, RemoteError> {
        let path = format!("{lane}/checkpoint");
        let bytes = self.get(&path, NOTE_BYTES_MAX).await?;
        String::from_utf8(bytes.into()).map_err(|_| self.content(&path, "no text"))
    }

    pub async fn tile(&self, lane: u16, id: Id, width: u16) -> Result<Vec<Hash>, RemoteError> {
        let path = format!("{lane}/{}", Resource::Tile { id, width });
        let bytes = self.get(&path, usize::from(WIDTH) * Hash::BYTES).await?;
        let hashes = Hash::many(&bytes).filter(|hashes| hashes.len() == usize::from(width));
        hashes.ok_or_else(|| self.content(&path, "not as many hashes as the tile has"))
    }

    /// Several tiles of a tree of this size, several at a time.
    pub async fn tiles(
        &self,
        lane: u16,
        ids: Vec<Id>,
        size: u64,
    ) -> Result<BTreeMap<Id, Vec<Hash>>, RemoteError> {
        let one = |id: Id| async move {
            Ok::<_, RemoteError>((id, self.tile(lane, id, tile::width(id, size)).await?))
        };
        stream::iter(ids.into_iter().map(one)).buffered(AT_A_TIME).try_collect().await
    }

    /// The roots that the tree of this size and root had at smaller sizes, from the served tiles: none of a tile that is not the tree's.
    ///
    /// # Errors
    /// When the log does not answer, or its tiles do not lead to the root. That says nothing against the tree.
    pub async fn roots(
        &self,
        lane: u16,
        (size, root): (u64, Hash),
        smaller: Vec<u64>,
    ) -> Result<BTreeMap<u64, Hash>, RemoteError> {
        let needed = tile::needed_for_roots(smaller.iter().copied(), size);
        let tiles = self.tiles(lane, needed, size).await?;
        // Some hundred hashes a tile and a size.
        let computed = tokio::task::spawn_blocking(move || {
            let tiles = Verified::new(tiles, size, &root)?;
            smaller.into_iter().map(|size| Ok((size, proof::root(&tiles, size)?))).collect()
        });
        let computed: Result<_, ProofError> =
            computed.await.map_err(|_| self.content("", "tiles that nothing was computed from"))?;
        computed.map_err(|_| self.content(&lane.to_string(), WRONG_TILES))
    }

    /// The records of an entry bundle. Only for readers.
    pub async fn entries(
        &self,
        lane: u16,
        index: u64,
        width: u16,
    ) -> Result<Vec<Vec<u8>>, RemoteError> {
        let path = format!("{lane}/{}", Resource::Entries { index, width });
        let bytes = self.get(&path, usize::from(WIDTH) * (bundle::LEAF_MAX + 2)).await?;
        let leaves: Result<Vec<Vec<u8>>, _> =
            bundle::leaves(&bytes).map(|leaf| leaf.map(<[u8]>::to_vec)).collect();
        let whole = leaves.ok().filter(|leaves| leaves.len() == usize::from(width));
        whole.ok_or_else(|| self.content(&path, "not as many records as the bundle has"))
    }

    /// A text by its digest; `None` when the log does not keep it. Only for readers.
    pub async fn text(&self, lane: u16, digest: [u8; 32]) -> Result<Option<Bytes>, RemoteError> {
        let path = format!("{lane}/text/{}", hex::encode(digest));
        let bytes = match self.get(&path, TEXT_BYTES_MAX).await {
            Err(RemoteError::Status { status: StatusCode::NOT_FOUND, .. }) => return Ok(None),
            other => other?,
        };
        if Sha256::digest(&bytes).as_slice() == digest {
            Ok(Some(bytes))
        } else {
            Err(self.content(&path, "another text"))
        }
    }

    async fn get(&self, path: &str, bytes_max: usize) -> Result<Bytes, RemoteError> {
        let url = format!("{}/{path}", self.url);
        let unreachable = |cause: String| RemoteError::Unreachable { url: url.clone(), cause };
        // A log may send what it likes to who does not say.
        let mut request = Request::get(&url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(file) = &self.token_file {
            let token = tokio::fs::read_to_string(file).await;
            // The cause names no content of the file.
            let token = token.map_err(|cause| unreachable(format!("`token_file`: {cause}")))?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let request = request.body(Full::default()).map_err(|_| {
            unreachable("the request cannot be made: what is in `token_file`?".to_owned())
        })?;
        let limits = Limits { bytes: bytes_max, wait: WAIT_MAX };
        let (status, bytes) = self.http.send(request, limits).await.map_err(unreachable)?;
        if status == StatusCode::OK { Ok(bytes) } else { Err(RemoteError::Status { url, status }) }
    }

    fn content(&self, path: &str, cause: &'static str) -> RemoteError {
        RemoteError::Content { url: format!("{}/{path}", self.url), cause }
    }
}

const WRONG_TILES: &str = "tiles that do not lead to the signed root";
/// Set by the specification of notes.
const NOTE_BYTES_MAX: usize = tlog::Note::BYTES_MAX;
/// As the verifier's longest line holds it in base64.
const TEXT_BYTES_MAX: usize = 12 << 20;
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Requests under way to one log: enough to hide the way there, few enough to burden nobody.
const AT_A_TIME: usize = 8;
