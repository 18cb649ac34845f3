//! A log that somebody serves who is no gateway of ours: what is under each path is the test's to say, or that no answer ever comes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use haetae::app::aside::Running;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tlog::proof::{self, Subtrees};
use tlog::tile::{self, Id, Resource};
use tlog::{Checkpoint, Hash, Signer as _, SigningKey, key::Kind};
use tokio_util::task::TaskTracker;

use super::{Config, body, config, key};
use crate::support::stage::plain_http;

/// What a path gives.
pub enum Page {
    Given(Vec<u8>),
    /// What stands under this address.
    Of(String),
    Nothing,
    Never,
}

/// Serves what `page` says of a path; gives the address.
pub async fn serve(page: impl Fn(&str) -> Page + Send + Sync + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let page = Arc::new(page);
    let router = Router::new().fallback(move |request: Request<Body>| {
        let page = Arc::clone(&page);
        async move { answer(page(request.uri().path())).await }
    });
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn answer(page: Page) -> Response<Body> {
    let (status, bytes) = match page {
        Page::Given(bytes) => (StatusCode::OK, bytes),
        Page::Of(url) => {
            let there = plain_http().get(url).send().await.unwrap();
            (there.status(), there.bytes().await.unwrap().to_vec())
        }
        Page::Nothing => (StatusCode::NOT_FOUND, Vec::new()),
        Page::Never => std::future::pending().await,
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response
}

pub const ORIGIN: &str = "pages.example/log";

/// A lane of which all leaves are the same, so that it may be as large as one likes.
#[derive(Clone)]
pub struct Same {
    log: &'static str,
    lane: u8,
    leaf: Hash,
    pub size: u64,
}

impl Same {
    pub fn new(lane: u8, leaf: &[u8], size: u64) -> Self {
        Self { log: ORIGIN, lane, leaf: Hash::leaf(leaf), size }
    }

    /// The same of another log.
    pub fn of(self, log: &'static str) -> Self {
        Self { log, ..self }
    }

    fn origin(&self) -> String {
        format!("{}/{}", self.log, self.lane)
    }

    fn key(&self) -> SigningKey {
        // Two logs have no key in common.
        let others = 100 * u8::from(self.log != ORIGIN);
        key(&self.origin(), Kind::Ed25519, self.lane + 1 + others)
    }

    pub fn root(&self) -> Hash {
        proof::root(self, self.size).unwrap()
    }

    /// The checkpoint, with this root.
    pub fn note(&self, root: Hash) -> String {
        let checkpoint = Checkpoint::new(self.origin(), self.size, root);
        checkpoint.sign(&self.key()).unwrap().to_string()
    }

    /// What the witness is asked to cosign first.
    pub fn body(&self) -> String {
        body(0, &[], &self.note(self.root()))
    }

    pub fn page(&self, what: &str) -> Page {
        if what == "checkpoint" {
            return Page::Given(self.note(self.root()).into_bytes());
        }
        let Ok(Resource::Tile { id, width }) = what.parse() else { return Page::Nothing };
        if width > tile::width(id, self.size) {
            return Page::Nothing;
        }
        Page::Given(self.tile(id, width))
    }

    fn tile(&self, id: Id, width: u16) -> Vec<u8> {
        let hash = self.subtree(u32::from(id.level) * tile::HEIGHT, 0).unwrap();
        Hash::concat(&vec![hash; usize::from(width)])
    }
}

impl Subtrees for Same {
    fn subtree(&self, level: u32, _index: u64) -> Option<Hash> {
        Some((0..level).fold(self.leaf, |node, _| Hash::node(&node, &node)))
    }
}

/// `/0/tile/...` -> lane and the rest.
pub fn split(path: &str) -> (u16, &str) {
    let (lane, what) = path.trim_start_matches('/').split_once('/').unwrap();
    (lane.parse().unwrap(), what)
}

/// A witness that mirrors the trees of so many lanes that are served there.
pub fn mirroring(dir: &std::path::Path, lanes: u8, url: &str) -> Config {
    mirroring_each(dir, &[(ORIGIN, lanes, url, 1)])
}

/// The same of several logs: each with its lanes, its address, and its parts of the room.
pub fn mirroring_each(dir: &std::path::Path, logs: &[(&'static str, u8, &str, u32)]) -> Config {
    let line = |lane: Same| format!("log {}\n", lane.key().verifier());
    let lanes = logs.iter().flat_map(|(log, lanes, ..)| {
        (0..*lanes).map(move |lane| line(Same::new(lane, b"", 0).of(log)))
    });
    let mut config = config(dir, &lanes.collect::<String>());
    let mirror = |(log, _, url, parts): &(&str, u8, &str, u32)| json!({ "log": log, "remote": { "url": url }, "room_parts": parts });
    let mirrors = logs.iter().map(mirror).collect();
    config.mirror = serde_json::from_value(mirrors).unwrap();
    config
}

pub async fn status(witness: &Running) -> Value {
    let url = format!("http://{}/status.json", witness.address());
    let text = plain_http().get(url).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What the operator's listener says under this path.
pub async fn console(witness: &Running, path: &str) -> String {
    let url = format!("http://{}{path}", witness.console_address().unwrap());
    plain_http().get(url).send().await.unwrap().text().await.unwrap()
}

/// What is shown to people.
pub async fn page(witness: &Running) -> String {
    let url = format!("http://{}/status", witness.address());
    plain_http().get(url).send().await.unwrap().text().await.unwrap()
}

/// How a lane stands in the mirror.
pub fn lane(status: &Value, lane: usize) -> &Value {
    &status["mirrors"][0]["lanes"][lane]
}

/// The sentences of the alarms of this code, newest first.
pub fn alarms(status: &Value, what: &str) -> Vec<String> {
    let newest = status["alarms"]["newest"].as_array().unwrap().iter();
    let of_code = newest.filter(|alarm| alarm["what"] == what);
    of_code.map(|alarm| alarm["about"].as_str().unwrap().to_owned()).collect()
}

pub async fn submit(witness: &Running, body: String) -> (u16, String) {
    let url = format!("http://{}/add-checkpoint", witness.address());
    let answer = plain_http().post(url).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}
