//! The regulator's own process and key: cosigns that a log only grew, and keeps what shows that it did not.
//!
//! C2SP tlog-witness: `POST /add-checkpoint`, and for whoever watches `GET /<origin hash>/checkpoint`. `GET /status` says
//! in plain words of each log how large it was last, when, and whether anything was refused. Logs that it is told to mirror
//! it pulls, follows and judges again ([`mirror`]); what it finds wrong becomes a record of its own log ([`own`]).
//!
//! Reading order: [`submission`] (what a log sends), [`shelf`] (what is kept), [`lost`] (how it shows that it is not), [`log`] (the
//! checks, in order), [`state`] (what is known of it), [`refusal`], this file (the routes), [`mirror`], [`room`] (what mirrors leave free, and each other), [`trouble`] (what is said of
//! one, and to whom), [`alarms`], [`own`].
//!
//! *Invariant:* what is cosigned was on the disk before; and of one log, never two trees that do not extend each other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::{HeaderValue, header};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use tlog::key::Kind;
use tlog::note::NoteError;
use tlog::{Checkpoint, Note, Signer as _, SigningKey, VerifierKey};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

mod alarms;
mod config;
mod log;
mod lost;
mod metrics;
mod mirror;
mod own;
mod refusal;
mod room;
mod shelf;
mod state;
mod status;
mod submission;
mod trouble;

pub use config::{Config, MirrorConfig, WitnessError};

use alarms::Alarms;
use log::{Log, Shown};
use lost::Mark;
use metrics::Counters;
use mirror::Mirror;
use own::Own;
use refusal::Refusal;
use room::Room;
use submission::Submission;

/// A witness. Share it behind an `Arc`.
pub struct Witness {
    signer: SigningKey,
    logs: BTreeMap<String, Arc<Log>>,
    mirrors: Vec<Arc<Mirror>>,
    alarms: Arc<Alarms>,
    room: Arc<Room>,
    mark: Mark,
    counters: Counters,
    clock: Clock,
    /// Submissions that are looked at together: each may wait for the disk.
    /// Held by the work itself, which goes on when its caller leaves.
    adding: Arc<Semaphore>,
    /// The same for pages: what they show may be held by a write to the disk.
    showing: Arc<Semaphore>,
    /// Nobody else has the state while we have this.
    _lock: File,
}

impl Witness {
    /// Reads the key, the logs, and what is kept of each.
    ///
    /// # Errors
    /// When a file cannot be used, says which: a witness that has forgotten must not start as if it were new.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, WitnessError> {
        config.is_mirrored_once()?;
        let signer = config.signer()?;
        let lock = shelf::lock(&config.state)?;
        let mark = Mark::open(&config.key, signer.verifier())?;
        let mut logs = BTreeMap::new();
        for (origin, keys) in config.logs()? {
            let log = Log::open(&config.state, &origin, keys, signer.verifier(), &mark)?;
            logs.insert(origin, Arc::new(log));
        }
        let own = Own::open(&config.state, &config.key, &signer, clock.clone())?;
        let counters = Counters::default();
        let alarms = Arc::new(Alarms::new(own, counters.alarms(), clock.clone()));
        let room = Arc::new(Room::new(
            config.state.clone(),
            config.room_min_mb,
            Arc::clone(&alarms),
            counters.clone(),
            clock.clone(),
        ));
        let with = mirror::With {
            own: signer.verifier().clone(),
            alarms: Arc::clone(&alarms),
            room: Arc::clone(&room),
            counters: counters.clone(),
            clock: clock.clone(),
        };
        let mirrors = mirror::open(config, &logs, &with)?;
        let adding = Arc::new(Semaphore::new(ADDING_MAX));
        let showing = Arc::new(Semaphore::new(SHOWING_MAX));
        Ok(Self {
            signer,
            logs,
            mirrors,
            alarms,
            room,
            mark,
            counters,
            clock,
            adding,
            showing,
            _lock: lock,
        })
    }

    /// Pulls the logs that are mirrored, until `stop`.
    pub fn watch(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        self.mirrors.iter().for_each(|mirror| mirror.watch(tracker, stop));
    }

    pub fn register(&self, registry: &mut Registry) {
        self.counters.register(registry);
    }

    /// The public key (C2SP vkey) of its own log, in which its alarms are records.
    #[must_use]
    pub fn log_vkey(&self) -> String {
        self.alarms.own().vkey()
    }

    /// The public key (C2SP vkey) under which it cosigns.
    #[must_use]
    pub fn vkey(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// Answers one request.
    pub async fn handle<B>(self: &Arc<Self>, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send,
    {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::POST, "/add-checkpoint") => self.submitted(request.into_body()).await,
            (_, "/add-checkpoint") => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "POST it\n");
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                answer
            }
            (&Method::GET | &Method::HEAD, _) => self.shown(path).await,
            _ => text(StatusCode::NOT_FOUND, TEXT, "there is nothing here\n"),
        }
    }

    async fn shown(self: &Arc<Self>, path: String) -> Response<Full<Bytes>> {
        let busy = || text(StatusCode::SERVICE_UNAVAILABLE, TEXT, "ask again\n");
        let Ok(turn) = Arc::clone(&self.showing).acquire_owned().await else { return busy() };
        let witness = Arc::clone(self);
        let shown = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            witness.show(&path)
        });
        shown.await.unwrap_or_else(|_| busy())
    }

    /// May wait for the disk.
    fn show(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/status" => text(StatusCode::OK, HTML, status::html(self)),
            "/status.json" => text(StatusCode::OK, "application/json", status::json(self)),
            path => self.of_own_log(path).unwrap_or_else(|| self.latest(path)),
        }
    }

    async fn submitted<B>(self: &Arc<Self>, body: B) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send,
    {
        let Ok(body) = Limited::new(body, submission::BYTES_MAX).collect().await else {
            return self.refuse(Refusal::Malformed);
        };
        let turn = Arc::clone(&self.adding).acquire_owned().await;
        let Ok(turn) = turn else { return self.refuse(Refusal::Disk) };
        let (witness, body) = (Arc::clone(self), body.to_bytes());
        // It ends with a write to the disk that must be waited for. It is not taken back when its caller leaves.
        let added = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            witness.add(&body)
        });
        let added = added.await;
        match added.unwrap_or(Err(Refusal::Disk)) {
            Ok(lines) => {
                self.counters.cosigned();
                text(StatusCode::OK, TEXT, lines)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// The checks of the specification, in its order; gives the signature lines.
    fn add(&self, body: &[u8]) -> Result<String, Refusal> {
        let submission = Submission::read(body).ok_or(Refusal::Malformed)?;
        let note: Note = submission.note.parse().map_err(|_| Refusal::Malformed)?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|_| Refusal::Malformed)?;
        let log = self.logs.get(&checkpoint.origin).ok_or(Refusal::UnknownOrigin)?;
        let signed = match note.verify(&log.keys) {
            Ok(signed) => signed,
            Err(NoteError::Unsigned | NoteError::BadSignature(_)) => {
                return Err(Refusal::NotSigned);
            }
            Err(_) => return Err(Refusal::Malformed),
        };
        let by: Vec<&VerifierKey> = signed.iter().map(|signature| signature.key).collect();
        log.add(self, &submission, &Shown { note: &note, checkpoint: &checkpoint, by: &by })
    }

    /// What is asked of the witness's own log, if it is.
    fn of_own_log(&self, path: &str) -> Option<Response<Full<Bytes>>> {
        let own = self.alarms.own();
        let what = path.strip_prefix(&own.prefix())?;
        let Some((bytes, for_good)) = own.get(what) else {
            return Some(text(StatusCode::NOT_FOUND, TEXT, "the log does not have this\n"));
        };
        let mut response = text(StatusCode::OK, if for_good { BYTES } else { TEXT }, bytes);
        if for_good {
            let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
            response.headers_mut().insert(header::CACHE_CONTROL, keep);
        }
        Some(response)
    }

    /// The newest cosigned checkpoint of the log whose origin has this hash.
    fn latest(&self, path: &str) -> Response<Full<Bytes>> {
        let hash = path.strip_prefix('/').and_then(|path| path.strip_suffix("/checkpoint"));
        let log = hash.and_then(|hash| self.logs.values().find(|log| log.shelf.name() == hash));
        let note = log.and_then(|log| Some(log.state().kept.as_ref()?.note.clone()));
        match note {
            Some(note) => text(StatusCode::OK, TEXT, note),
            None => text(StatusCode::NOT_FOUND, TEXT, "no such log, or nothing cosigned of it\n"),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response<Full<Bytes>> {
        self.counters.refused(refusal.code());
        match refusal {
            Refusal::Conflict(size) => text(refusal.status(), SIZE, format!("{size}\n")),
            _ => text(refusal.status(), TEXT, format!("{}\n", refusal.message())),
        }
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Each waits for two writes to the disk at most.
const ADDING_MAX: usize = 64;
const SHOWING_MAX: usize = 16;
const HTML: &str = "text/html; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";
/// Set by the specification.
const SIZE: &str = "text/x.tlog.size";
const KEY_KIND: Kind = Kind::Cosignature;
