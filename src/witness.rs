//! The regulator's own process and key: cosigns that a log only grew, and keeps what shows that it did not.
//!
//! C2SP tlog-witness: `POST /add-checkpoint`, and for whoever watches `GET /<origin hash>/checkpoint`. `GET /status` says
//! in plain words of each log how large it was last, when, and whether anything was refused. Logs that it is told to mirror
//! it pulls, follows and judges again ([`mirror`]); what it finds wrong becomes a record of its own log ([`own`]).
//!
//! Reading order: [`submission`] (what a log sends), [`shelf`] (what is kept), this file (the checks, in order), [`mirror`],
//! [`alarms`], [`own`].
//!
//! *Invariant:* what is cosigned was on the disk before; and of one log, never two trees that do not extend each other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::{HeaderValue, header};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use tlog::key::Kind;
use tlog::note::NoteError;
use tlog::{Checkpoint, Hash, Note, Signer as _, SigningKey, VerifierKey, cosignature, proof};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

mod alarms;
mod config;
mod metrics;
mod mirror;
mod own;
mod shelf;
mod status;
mod submission;

pub use config::{Config, MirrorConfig, WitnessError};

use alarms::Alarms;
use metrics::Counters;
use mirror::{Mirror, Tree};
use own::Own;
use shelf::{Kept, Shelf};
use submission::Submission;

/// A witness. Share it behind an `Arc`.
pub struct Witness {
    signer: SigningKey,
    logs: BTreeMap<String, Arc<Log>>,
    mirrors: Vec<Arc<Mirror>>,
    alarms: Arc<Alarms>,
    counters: Counters,
    clock: Clock,
    /// Submissions that are looked at together: each may wait for the disk.
    adding: Semaphore,
    /// Nobody else has the state while we have this.
    _lock: File,
}

/// A log that is witnessed.
struct Log {
    origin: String,
    /// While a log changes its key both are trusted.
    keys: Vec<VerifierKey>,
    shelf: Shelf,
    /// Locked from the check of the size to its record: two submissions cannot pass each other.
    state: Mutex<State>,
    /// The mirrored tree, where there is one.
    mirrored: OnceLock<Arc<Mutex<Tree>>>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    /// Unix seconds of the last well-signed checkpoint that contradicts what was seen, and why.
    contradicted: Option<(i64, Refusal)>,
    contradictions: u64,
    /// Well-signed checkpoints without a proof that they extend what was cosigned. Anybody can send those.
    unproven: u64,
    /// The hour (Unix) in which one of them was an alarm last.
    unproven_hour: Option<i64>,
}

/// Why a submission is not cosigned: the specification's statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Malformed,
    UnknownOrigin,
    NotSigned,
    Backwards,
    /// The size that is kept.
    Conflict(u64),
    /// An empty tree has one root.
    EmptyRoot,
    /// Another tree of the same size was cosigned, or mirrored.
    Fork,
    /// The proof does not show that the tree only grew.
    Proof,
    /// The state could not be written.
    Disk,
}

impl Witness {
    /// Reads the key, the logs, and what is kept of each.
    ///
    /// # Errors
    /// When a file cannot be used, says which: a witness that has forgotten must not start as if it were new.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, WitnessError> {
        let signer = config.signer()?;
        let lock = shelf::lock(&config.state)?;
        let mut logs = BTreeMap::new();
        for (origin, keys) in config.logs()? {
            let shelf = Shelf::open(&config.state, &origin)?;
            let kept = shelf.read(&keys, signer.verifier())?;
            let state = Mutex::new(State { kept, ..State::default() });
            let log = Log { origin: origin.clone(), keys, shelf, state, mirrored: OnceLock::new() };
            logs.insert(origin, Arc::new(log));
        }
        let own = Own::open(&config.state.join("log"), &signer, clock.clone())?;
        let counters = Counters::default();
        let alarms = Arc::new(Alarms::new(own, counters.alarms(), clock.clone()));
        let mirror = |settings| {
            let with = mirror::With {
                alarms: Arc::clone(&alarms),
                counters: counters.clone(),
                clock: clock.clone(),
            };
            Mirror::open(settings, &config.state, &logs, with).map(Arc::new)
        };
        let mirrors = config.mirror.iter().map(mirror).collect::<Result<Vec<_>, _>>()?;
        let adding = Semaphore::new(ADDING_MAX);
        Ok(Self { signer, logs, mirrors, alarms, counters, clock, adding, _lock: lock })
    }

    /// Pulls the logs that are mirrored, until `stop`.
    pub fn watch(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        for mirror in &self.mirrors {
            let run = Arc::clone(mirror).run();
            tracker.spawn(stop.clone().run_until_cancelled_owned(run));
        }
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
            (_, "/add-checkpoint") => text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "POST it\n"),
            (&Method::GET | &Method::HEAD, "/status") => {
                text(StatusCode::OK, HTML, status::html(self))
            }
            (&Method::GET | &Method::HEAD, "/status.json") => {
                text(StatusCode::OK, "application/json", status::json(self))
            }
            (&Method::GET | &Method::HEAD, path) => {
                self.of_own_log(path).unwrap_or_else(|| self.latest(path))
            }
            _ => text(StatusCode::NOT_FOUND, TEXT, "there is nothing here\n"),
        }
    }

    async fn submitted<B>(self: &Arc<Self>, body: B) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send,
    {
        let Ok(body) = Limited::new(body, submission::BYTES_MAX).collect().await else {
            return self.refuse(Refusal::Malformed);
        };
        let Ok(_turn) = self.adding.acquire().await else { return self.refuse(Refusal::Disk) };
        let (witness, body) = (Arc::clone(self), body.to_bytes());
        // It ends with a write to the disk that must be waited for.
        let added = tokio::task::spawn_blocking(move || witness.add(&body)).await;
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
        log.add(self, &submission, &note, &checkpoint, &by)
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

impl Log {
    fn add(
        &self,
        witness: &Witness,
        submission: &Submission<'_>,
        note: &Note,
        checkpoint: &Checkpoint,
        by: &[&VerifierKey],
    ) -> Result<String, Refusal> {
        let now_s = witness.clock.unix_s();
        let mut state = self.state();
        let grown = grew(state.kept.as_ref(), submission, checkpoint)
            .and_then(|()| self.is_as_mirrored(checkpoint));
        if let Err(refusal) = grown {
            if let Some(alarm) = state.refused(refusal, submission, checkpoint, now_s) {
                let before = state.kept.as_ref().map(|kept| kept.note.as_str());
                self.shelf.evidence(submission.note, before, now_s, refusal == Refusal::Proof);
                witness.alarms.raise(&self.origin, alarm.0, alarm.1);
            }
            return Err(refusal);
        }
        let at = u64::try_from(now_s).map_err(|_| Refusal::Disk)?;
        let line = cosignature::cosign(note, &witness.signer, at).map_err(|_| Refusal::Disk)?;
        let answer = format!("{line}\n");
        // Only the signatures that were verified, and ours.
        let mut kept = note.text().to_owned();
        kept.push('\n');
        // One of each key: a submission may repeat a line.
        let of = |key: &&VerifierKey| note.signatures().iter().find(|one| one.is_of(key));
        for signature in by.iter().filter_map(of).chain([&line]) {
            kept.push_str(&signature.to_string());
            kept.push('\n');
        }
        let kept = Kept { size: checkpoint.size, root: checkpoint.root, at_s: at, note: kept };
        // If we stop here, nothing was cosigned; after it, the log asks again and gets the same tree cosigned.
        self.shelf.write(&kept).map_err(|cause| {
            tracing::error!(%cause, "a checkpoint cannot be kept, so it is not cosigned");
            Refusal::Disk
        })?;
        state.kept = Some(kept);
        Ok(answer)
    }

    /// What was mirrored under another signed root is not cosigned.
    fn is_as_mirrored(&self, checkpoint: &Checkpoint) -> Result<(), Refusal> {
        let Some(tree) = self.mirrored.get() else { return Ok(()) };
        let root = tree.lock().unwrap_or_else(PoisonError::into_inner).signed_root(checkpoint.size);
        if root.is_none_or(|root| root == checkpoint.root) { Ok(()) } else { Err(Refusal::Fork) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts it; gives code and sentence of the alarm, where it is one. A missing proof is anybody's doing, so one an hour is.
    fn refused(
        &mut self,
        refusal: Refusal,
        submission: &Submission<'_>,
        checkpoint: &Checkpoint,
        now_s: i64,
    ) -> Option<(&'static str, String)> {
        let size = checkpoint.size;
        match refusal {
            Refusal::EmptyRoot | Refusal::Fork => {
                self.contradicted = Some((now_s, refusal));
                self.contradictions += 1;
                let about = format!(
                    "a signed checkpoint of {size} records was submitted that contradicts what was seen before"
                );
                Some(("contradiction", about))
            }
            Refusal::Proof => {
                self.unproven += 1;
                let hour = now_s.div_euclid(3_600);
                let is_first = self.unproven_hour.replace(hour) != Some(hour);
                let about = format!(
                    "a signed checkpoint of {size} records was submitted without a proof that it extends the one of {} that was cosigned",
                    submission.old
                );
                let is_one = is_first && submission.old > 0 && size > submission.old;
                is_one.then_some(("unproven", about))
            }
            _ => None,
        }
    }
}

/// Whether the checkpoint extends what is kept.
fn grew(
    kept: Option<&Kept>,
    submission: &Submission<'_>,
    checkpoint: &Checkpoint,
) -> Result<(), Refusal> {
    let (size, root) = kept.map_or((0, Hash::EMPTY), |kept| (kept.size, kept.root));
    if submission.old > checkpoint.size {
        return Err(Refusal::Backwards);
    }
    if submission.old != size {
        return Err(Refusal::Conflict(size));
    }
    if checkpoint.size == 0 && checkpoint.root != Hash::EMPTY {
        return Err(Refusal::EmptyRoot);
    }
    if checkpoint.size == size && checkpoint.root != root {
        return Err(Refusal::Fork);
    }
    let new = (checkpoint.size, &checkpoint.root);
    proof::verify_consistency((size, &root), new, &submission.proof).map_err(|_| Refusal::Proof)
}

impl Refusal {
    const fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Backwards => StatusCode::BAD_REQUEST,
            Self::UnknownOrigin => StatusCode::NOT_FOUND,
            Self::NotSigned => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::EmptyRoot | Self::Fork | Self::Proof => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Disk => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownOrigin => "unknown_origin",
            Self::NotSigned => "not_signed",
            Self::Backwards => "backwards",
            Self::Conflict(_) => "conflict",
            Self::EmptyRoot => "empty_root",
            Self::Fork => "fork",
            Self::Proof => "not_consistent",
            Self::Disk => "state_not_written",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Malformed => {
                "the body is not an `old` line, a proof and a checkpoint (c2sp.org/tlog-witness)"
            }
            Self::UnknownOrigin => "this witness does not know the log: ask its operator to add it",
            Self::NotSigned => {
                "no trusted key of the log signed the checkpoint, or its signature is bad"
            }
            Self::Backwards => "the old size is larger than the checkpoint's",
            Self::Conflict(_) => "the old size is not the one that is kept",
            Self::EmptyRoot => "an empty tree has the root SHA-256 of nothing",
            Self::Fork => {
                "this witness has seen another tree of this size: the checkpoint is kept as evidence"
            }
            Self::Proof => "the proof does not show that the tree only grew",
            Self::Disk => "the witness cannot write its state, so it cosigns nothing",
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
const HTML: &str = "text/html; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";
/// Set by the specification.
const SIZE: &str = "text/x.tlog.size";
const KEY_KIND: Kind = Kind::Cosignature;
