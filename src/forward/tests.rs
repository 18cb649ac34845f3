//! Proves, against real TLS sites on loopback: only the pinned site gets a request; it gets it once; what it sends
//! arrives as it comes; every way to end is told exactly once; and sites that fail are left out until they are back.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Response,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::sync::Semaphore;

use self::stage::{Authority, Stage, Step, answer};
use super::{
    Body, Config, Cut, Cutter, Failure, ForwardError, Sent, Site,
    attempt::{Call, attempt},
    balance,
    ending::Ending,
    probe,
    site::Sites,
};

mod answers;
mod ends;
mod heads;
mod identities;
mod sites;
mod stage;

const SPIFFE: &str = "spiffe://kr.example/site/kr-seo-1";

/// The gateway's side of an attempt.
struct Gateway {
    sites: Sites,
    started: Arc<Mutex<Vec<String>>>,
    ended: Arc<Mutex<Vec<Sent>>>,
}

impl Gateway {
    fn to(sites: Vec<Site>) -> Self {
        Self::with(Config::default(), sites)
    }

    fn with(config: Config, sites: Vec<Site>) -> Self {
        // The machine may be busy: only tests of a time limit set a short one.
        let config = Config { connect_ms: 20_000, pool_idle_ms: 60_000, ..config };
        let gateway = Self {
            sites: Sites::new(&config).unwrap(),
            started: Arc::default(),
            ended: Arc::default(),
        };
        gateway.sites.set(sites);
        gateway
    }

    async fn ask(&self, id: &str, stream: bool) -> Result<Response<Body>, ForwardError> {
        self.ask_with(id, call(stream)).await
    }

    async fn ask_with(&self, id: &str, call: Call) -> Result<Response<Body>, ForwardError> {
        let (started, ended) = (Arc::clone(&self.started), Arc::clone(&self.ended));
        let ending = Ending::new(Box::new(move |sent| ended.lock().unwrap().push(sent)));
        let on_start = Box::new(move |id: Arc<str>| started.lock().unwrap().push(id.to_string()));
        let site = self.sites.find(id).unwrap();
        attempt(site, &self.sites.config, call, on_start, ending).await
    }

    /// Asks and reads the answer to its end.
    async fn whole(&self, id: &str) -> Result<String, ForwardError> {
        let response = self.ask(id, false).await?;
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn started(&self) -> Vec<String> {
        self.started.lock().unwrap().clone()
    }

    /// The one end that was told.
    fn end(&self) -> Sent {
        let ended = self.ended.lock().unwrap();
        assert_eq!(ended.len(), 1, "told exactly once: {ended:?}");
        ended[0].clone()
    }

    fn chosen(&self, ids: &[&str]) -> Option<String> {
        let ids: Vec<Arc<str>> = ids.iter().map(|id| Arc::from(*id)).collect();
        balance::choose(&self.sites, &ids).map(|id| id.to_string())
    }
}

fn call(stream: bool) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    let body = Bytes::from_static(b"{\"model\":\"m\"}");
    let (path, cutter) = ("/v1/chat/completions", Cutter::default());
    Call { method: "POST", path, headers, body, stream, cutter }
}

const BODY_BYTES: u64 = 13;

/// A site that answers every request with `ok`.
async fn plain(authority: &Authority) -> Stage {
    Stage::open(&authority.sign(&[SPIFFE]), None, |_| answer("200 OK", "ok")).await
}

fn failed(result: Result<Response<Body>, ForwardError>) -> (Failure, bool) {
    let error = result.err().unwrap();
    (error.failure, error.reached)
}

fn cut_by(failure: Failure) -> Sent {
    Sent {
        status: Some(200),
        bytes_out: BODY_BYTES,
        bytes_back: 0,
        reached: true,
        whole: false,
        why: Some(failure.code()),
    }
}

async fn next(body: &mut Body) -> Option<Result<String, Cut>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()))
}
