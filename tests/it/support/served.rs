//! The listener of a lab's log over HTTP, in front of which somebody may stand.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use haetae::audit::Audit;
use haetae::caller::{Callers, Connection, PeerCertificate};
use haetae::clock::Clock;
use haetae::tiles::{self, Tiles};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::lab::ORIGIN;

/// Changes what is served under a path.
type Spoil = Arc<dyn Fn(&str, &mut Vec<u8>) + Send + Sync>;

/// The log's listener, in front of which somebody may stand.
#[derive(Clone)]
pub struct Served(Arc<Mutex<Shown>>);

struct Shown {
    tiles: Arc<Tiles>,
    reader: &'static str,
    away: bool,
    spoil: Spoil,
}

impl Served {
    pub async fn start(pool: &PgPool) -> (Self, String) {
        let tiles = tiles_of(pool).await;
        let shown =
            Shown { tiles, reader: "reader.example", away: false, spoil: Arc::new(|_, _| {}) };
        let served = Self(Arc::new(Mutex::new(shown)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = served.clone();
        let router = Router::new().fallback(move |request: Request<Body>| {
            let served = answering.clone();
            async move { served.answer(request).await }
        });
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        (served, format!("http://{address}/log"))
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (tiles, reader, spoil) = {
            let shown = self.0.lock().unwrap();
            if shown.away {
                let mut away = Response::new(Body::empty());
                *away.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return away;
            }
            (Arc::clone(&shown.tiles), shown.reader, Arc::clone(&shown.spoil))
        };
        let certificate = PeerCertificate {
            spiffe_ids: Vec::new(),
            dns_names: vec![reader.to_owned()],
            sha256: hex::encode(Sha256::digest(reader)),
            digest: Sha256::digest(reader).into(),
            not_before: 0,
            not_after: i64::MAX,
        };
        let remote = ([127, 0, 0, 1], 1).into();
        let connection = Connection { remote, certificate: Some(Arc::new(certificate)) };
        let request = request.map(|_| ());
        let path = request.uri().path().to_owned();
        let (head, body) = tiles.handle(&connection, &request).await.into_parts();
        let mut body = body.collect().await.unwrap().to_bytes().to_vec();
        if head.status == StatusCode::OK {
            spoil(&path, &mut body);
        }
        Response::from_parts(head, Body::from(body))
    }

    pub fn spoil(&self, spoil: impl Fn(&str, &mut Vec<u8>) + Send + Sync + 'static) {
        self.0.lock().unwrap().spoil = Arc::new(spoil);
    }

    /// Tells the log who read records.
    pub async fn tell(&self, audit: &Audit) {
        let tiles = Arc::clone(&self.0.lock().unwrap().tiles);
        let at_once = CancellationToken::new();
        at_once.cancel();
        tiles.tell(Arc::new(audit.clone()), Clock::system(), at_once).await;
    }

    /// The certificate that every caller shows from now on.
    pub fn let_in(&self, reader: &'static str) {
        self.0.lock().unwrap().reader = reader;
    }

    /// Answers nothing but 503 from now on, or as before.
    pub fn is_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    pub async fn show(&self, pool: &PgPool) {
        let tiles = tiles_of(pool).await;
        self.0.lock().unwrap().tiles = tiles;
    }
}

async fn tiles_of(pool: &PgPool) -> Arc<Tiles> {
    let settings: tiles::Config = serde_json::from_value(json!({
        "listen": { "address": "127.0.0.1:0" },
        "readers": [{ "organisation": "supervisor", "role": "auditor" }],
    }))
    .unwrap();
    let who = json!({ "certificates": [
        { "dns": "reader.example", "organisation": "supervisor", "roles": ["auditor"] },
    ] });
    let callers = Callers::new(&serde_json::from_value(who).unwrap(), Clock::system()).await;
    Arc::new(Tiles::new(&settings, ORIGIN, pool.clone(), Arc::new(callers.unwrap())))
}
