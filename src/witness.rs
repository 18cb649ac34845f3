//! The regulator's own process and key: cosigns that a log only grew, and keeps what shows that it did not.
//!
//! C2SP tlog-witness: `POST /add-checkpoint`, and for whoever watches `GET /<origin hash>/checkpoint`. `GET /status` says
//! in plain words of each log how large it was last, when, and whether anything was refused. Logs that it is told to mirror
//! it pulls, follows and judges again ([`mirror`]); what it finds wrong becomes a record of its own log ([`own`]).
//!
//! Reading order: [`submission`] (what a log sends), [`shelf`] (what is kept), [`lost`] (how it shows that it is not), this file
//! (the checks, in order), [`refusal`], [`mirror`], [`room`] (what mirrors leave free, and each other), [`trouble`] (what is said of
//! one, and to whom), [`alarms`], [`own`].
//!
//! *Invariant:* what is cosigned was on the disk before; and of one log, never two trees that do not extend each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::{HeaderValue, header};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use sha2::{Digest as _, Sha256};
use tlog::key::Kind;
use tlog::note::NoteError;
use tlog::{Checkpoint, Hash, Note, Signer as _, SigningKey, VerifierKey, cosignature, proof};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

mod alarms;
mod config;
mod lost;
mod metrics;
mod mirror;
mod own;
mod refusal;
mod room;
mod shelf;
mod status;
mod submission;
mod trouble;

pub use config::{Config, MirrorConfig, WitnessError};

use alarms::Alarms;
use lost::Mark;
use metrics::Counters;
use mirror::{Mirror, Tree};
use own::Own;
use refusal::Refusal;
use room::Room;
use shelf::{Kept, Name, Shelf, Weight};
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
    /// Set where it is to be mirrored: nothing of it is cosigned for the first time before what it shows was looked at.
    is_shown: OnceLock<()>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    /// What was cosigned, by our own signature, and `kept` does not know.
    lost: Option<Kept>,
    /// What was cosigned, by our own signature, and is no part of what is known.
    twice: Option<Kept>,
    /// Whether what the log shows was looked at since this process began.
    looked: bool,
    /// Unix seconds of the last well-signed checkpoint that contradicts what was seen, and why.
    contradicted: Option<(i64, Refusal)>,
    contradictions: u64,
    /// Well-signed checkpoints without a proof that they extend what was cosigned. Anybody can send those.
    unproven: u64,
    /// Signed trees that contradict what was cosigned, by size and root: each is told once.
    told: BTreeSet<(u64, [u8; 32])>,
    /// Signed texts that are on the disk as evidence: to look for them there again takes long.
    evident: BTreeSet<[u8; 32]>,
    /// The hour (Unix) in which one of them was an alarm last.
    unproven_hour: Option<i64>,
    /// The same of those whose log believes more to be cosigned than is known.
    behind_hour: Option<i64>,
    /// The same of cosignatures that bear a time which the clock has not reached.
    clock_hour: Option<i64>,
}

/// A checkpoint that keys of the log itself (`by`) have signed.
struct Shown<'s> {
    note: &'s Note,
    checkpoint: &'s Checkpoint,
    by: &'s [&'s VerifierKey],
}

/// The tree that is known where another one was shown.
struct Other {
    refusal: Refusal,
    root: Hash,
    /// The signed note that it is of.
    note: Option<String>,
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

impl Log {
    /// Reads what is kept of it. A log of which the key has cosigned, by the mark, is not taken for a new one.
    fn open(
        dir: &Path,
        origin: &str,
        keys: Vec<VerifierKey>,
        own: &VerifierKey,
        mark: &Mark,
    ) -> Result<Self, WitnessError> {
        let shelf = Shelf::open(dir, origin)?;
        let kept = shelf.read(Name::Cosigned, &keys, own)?;
        let is_known = |lost: &Kept| kept.as_ref().is_some_and(|kept| kept.knows(lost.tree()));
        let lost = shelf.read(Name::Lost, &keys, own)?.filter(|lost| !is_known(lost));
        let twice = shelf.read(Name::Twice, &keys, own)?;
        if kept.is_some() {
            mark.add(shelf.name());
        } else if lost.is_none() && twice.is_none() && mark.has(shelf.name()) {
            let (path, cause) = (shelf.path(Name::Cosigned), mark.missed(origin));
            return Err(WitnessError::State { path, cause });
        }
        let state = Mutex::new(State { kept, lost, twice, ..State::default() });
        let (origin, mirrored, is_shown) = (origin.to_owned(), OnceLock::new(), OnceLock::new());
        Ok(Self { origin, keys, shelf, state, mirrored, is_shown })
    }

    /// The log shows this, with signatures of these keys of its own; nothing when it shows nothing. May wait for the disk.
    fn look(&self, shown: Option<(&Note, &Checkpoint)>, own: &VerifierKey, alarms: &Alarms) {
        let mut state = self.state();
        state.looked = true;
        let Some((note, checkpoint)) = shown else { return };
        let Ok(signed) = note.verify(&self.keys) else { return };
        let by: Vec<&VerifierKey> = signed.iter().map(|signature| signature.key).collect();
        let shown = Shown { note, checkpoint, by: &by };
        let other = self.seen_otherwise(&state, checkpoint);
        self.prove(&mut state, &shown, other.is_some(), own, alarms);
    }

    /// The tree that was cosigned or mirrored under the size of a checkpoint, where it is another one. May wait for the disk.
    fn seen_otherwise(&self, state: &State, checkpoint: &Checkpoint) -> Option<Other> {
        let (size, root) = (checkpoint.size, checkpoint.root);
        if size == 0 {
            let other = Other { refusal: Refusal::EmptyRoot, root: Hash::EMPTY, note: None };
            return (root != Hash::EMPTY).then_some(other);
        }
        let cosigned = [&state.kept, &state.lost, &state.twice].into_iter().flatten();
        let mut cosigned = cosigned.filter(|cosigned| cosigned.size == size);
        if let Some(other) = cosigned.find(|cosigned| cosigned.root != root) {
            let (root, note) = (other.root, Some(other.note.clone()));
            return Some(Other { refusal: Refusal::Fork, root, note });
        }
        let tree = self.mirrored.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        let mirrored = tree.signed_root(size).filter(|mirrored| *mirrored != root)?;
        let note = Some(tree.head().note.clone());
        Some(Other { refusal: Refusal::Fork, root: mirrored, note })
    }

    /// Remembers what our own cosignature proves, if it is there: that the state does not know all that was cosigned.
    fn prove(
        &self,
        state: &mut State,
        shown: &Shown<'_>,
        is_other: bool,
        own: &VerifierKey,
        alarms: &Alarms,
    ) {
        // What contradicts was not cosigned before what is known, however small it is.
        let known = state.known().filter(|_| !is_other);
        let proven = lost::proven(own, shown.by, shown.note, shown.checkpoint, known);
        let Some(proven) = proven else { return };
        if state.known().is_some_and(|known| known.knows(proven.tree())) {
            self.remember_twice(state, proven, alarms);
        } else {
            self.remember(state, proven, alarms);
        }
    }

    /// From now on nothing of this log is cosigned.
    fn remember(&self, state: &mut State, lost: Kept, alarms: &Alarms) {
        if state.lost.as_ref().is_some_and(|known| known.size >= lost.size) {
            return;
        }
        // In memory it holds at once. If we stop here, whoever showed it shows it again.
        if let Err(cause) = self.shelf.write(Name::Lost, &lost) {
            tracing::error!(%cause, "what shows that the state was lost cannot be kept");
        }
        let known = state.kept.as_ref().map_or(0, |kept| kept.size);
        let about = format!(
            "a checkpoint of {} records bears this witness's cosignature, and its state knows {known}: the state was lost, or is an older one. Nothing of this log is cosigned until it is back from its backup, or key and state are new ones; whoever is sure that nothing later was cosigned takes `.lost` from the name of `{}.lost`, and starts it again",
            lost.size,
            self.shelf.name()
        );
        if state.lost.replace(lost).is_none() {
            alarms.raise(&self.origin, "state_lost", about);
        }
    }

    /// The same where what is known goes further, and is another tree: a larger state in its place would not heal it.
    fn remember_twice(&self, state: &mut State, twice: Kept, alarms: &Alarms) {
        if state.twice.is_some() {
            return;
        }
        if let Err(cause) = self.shelf.write(Name::Twice, &twice) {
            tracing::error!(%cause, "what shows that two trees were cosigned cannot be kept");
        }
        let about = format!(
            "a checkpoint of {} records bears this witness's cosignature, and is no part of the tree that it cosigned or mirrored since: two trees were cosigned, or the log shows two. Nothing of this log is cosigned until key and state are new ones, or somebody who knows better takes `{}.twice` away, and starts it again",
            twice.size,
            self.shelf.name()
        );
        state.twice = Some(twice);
        alarms.raise(&self.origin, "state_lost", about);
    }

    fn add(
        &self,
        witness: &Witness,
        submission: &Submission<'_>,
        shown: &Shown<'_>,
    ) -> Result<String, Refusal> {
        let (note, checkpoint) = (shown.note, shown.checkpoint);
        let mut state = self.state();
        // Not before it is our turn: who is cosigned later bears no earlier time.
        let now_s = witness.clock.unix_s();
        // First of all, and whatever else is wrong with it: what the log signed beside what is known says it against the log.
        let other = self.seen_otherwise(&state, checkpoint);
        let own = witness.signer.verifier();
        self.prove(&mut state, shown, other.is_some(), own, &witness.alarms);
        if let Err(answer) = self.check(&state, submission, checkpoint, other.as_ref()) {
            // What contradicts is counted and kept as that, also where the answer is about the size.
            let refusal = other.as_ref().map_or(answer, |other| other.refusal);
            let refused = Refused { refusal, submission, checkpoint, other, now_s };
            self.refused(&mut state, refused, &witness.alarms);
            return Err(answer);
        }
        let at = state.time_s(now_s)?;
        let behind = state.clock_behind(now_s);
        let line = cosignature::cosign(note, &witness.signer, at).map_err(|_| Refusal::Disk)?;
        let answer = format!("{line}\n");
        let kept = Kept::new(note, checkpoint, shown.by, &line, at);
        // If we stop here, nothing was cosigned; after it, the log asks again and gets the same tree cosigned.
        self.shelf.write(Name::Cosigned, &kept).map_err(|cause| {
            tracing::error!(%cause, "a checkpoint cannot be kept, so it is not cosigned");
            Refusal::Disk
        })?;
        witness.mark.add(self.shelf.name());
        state.kept = Some(kept);
        if let Some(about) = behind {
            witness.alarms.raise(&self.origin, "clock_behind", about);
        }
        Ok(answer)
    }

    /// The answers of the specification, in its order: first about the size, as far as that is known.
    fn check(
        &self,
        state: &State,
        submission: &Submission<'_>,
        checkpoint: &Checkpoint,
        other: Option<&Other>,
    ) -> Result<(), Refusal> {
        let size = state.size(self.is_shown.get().is_some());
        submission.follows(size.ok(), checkpoint.size)?;
        if let Some(other) = other {
            return Err(other.refusal);
        }
        size?;
        if state.twice.is_some() {
            return Err(Refusal::Lost);
        }
        grew(state.kept.as_ref(), submission, checkpoint)
    }

    /// Counts a refusal, and keeps what shows why.
    fn refused(&self, state: &mut State, refused: Refused<'_>, alarms: &Alarms) {
        let alarm = state.refused(&refused);
        let Refused { refusal, submission, other, now_s, .. } = refused;
        let weight = if refusal == Refusal::Proof { Weight::Anybodys } else { Weight::Tree };
        // What contradicts is tried again until it is on the disk: the alarm is raised once.
        if refusal.is_about_the_tree() && (alarm.is_some() || weight == Weight::Tree) {
            let kept = || state.kept.as_ref().map(|kept| kept.note.clone());
            let before = other.and_then(|other| other.note).or_else(kept);
            self.evidence(state, submission.note, before.as_deref(), now_s, weight);
        }
        if let Some((what, about)) = alarm {
            alarms.raise(&self.origin, what, about);
        }
    }

    /// Keeps a signed note as evidence, once. Under the lock: what is mirrored and what is submitted may be evidence at once.
    fn evidence(
        &self,
        state: &mut State,
        note: &str,
        before: Option<&str>,
        now_s: i64,
        weight: Weight,
    ) {
        let signed: [u8; 32] = Sha256::digest(shelf::signed(note)).into();
        if state.evident.contains(&signed) {
            return;
        }
        // As many as there are places: it stays small.
        if self.shelf.evidence(note, before, now_s, weight) {
            state.evident.insert(signed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The largest tree of which it is known that we cosigned it.
    fn known(&self) -> Option<&Kept> {
        self.lost.as_ref().or(self.kept.as_ref())
    }

    /// What was cosigned, and the state does not know: nothing is cosigned.
    fn unknown(&self) -> Option<&Kept> {
        self.lost.as_ref().or(self.twice.as_ref())
    }

    /// The size that was cosigned last, as far as that can be told.
    fn size(&self, is_mirrored: bool) -> Result<u64, Refusal> {
        if self.lost.is_some() {
            return Err(Refusal::Lost);
        }
        let kept = self.kept.as_ref().map(|kept| kept.size);
        // Only where nothing is kept: who is known need not wait for what it shows.
        let none = if self.looked || !is_mirrored { Ok(0) } else { Err(Refusal::NotLooked) };
        kept.map_or(none, Ok)
    }

    /// The time of the next cosignature, Unix seconds: not before that of the last one, whatever a clock says that was set back.
    fn time_s(&self, now_s: i64) -> Result<u64, Refusal> {
        let last_s = self.kept.as_ref().map_or(0, |kept| kept.at_s);
        let at_s = u64::try_from(now_s).unwrap_or(0).max(last_s);
        // Set by the specification: zero says nothing about time.
        if at_s == 0 { Err(Refusal::Clock) } else { Ok(at_s) }
    }

    /// The sentence of an alarm, once an hour: one jump ahead of the clock is in every later time until the clock comes there.
    fn clock_behind(&mut self, now_s: i64) -> Option<String> {
        let last_s = i64::try_from(self.kept.as_ref()?.at_s).unwrap_or(i64::MAX);
        let ahead_s = last_s.saturating_sub(now_s);
        let hour = now_s.div_euclid(3_600);
        if ahead_s <= BEHIND_MAX_S || self.clock_hour.replace(hour) == Some(hour) {
            return None;
        }
        Some(format!(
            "the last cosignature bears the time {last_s}, and this witness's clock says {now_s}, {ahead_s} s less: it is behind, or was ahead. Until it comes there each cosignature of this log bears that time"
        ))
    }

    /// Counts it; gives code and sentence of the alarm, where it is one. A missing proof and a wrong size are anybody's doing, so one
    /// of each an hour is.
    fn refused(&mut self, refused: &Refused<'_>) -> Option<(&'static str, String)> {
        let &Refused { refusal, submission, checkpoint, now_s, ref other } = refused;
        let (size, root) = (checkpoint.size, checkpoint.root);
        let hour = now_s.div_euclid(3_600);
        match refusal {
            // Who knows that we cosigned so many was told so by us, or guesses.
            Refusal::Conflict(known) if submission.old > known => {
                let is_first = self.behind_hour.replace(hour) != Some(hour);
                let about = format!(
                    "a signed checkpoint of {size} records was submitted as one that extends {} that were cosigned, and the state knows {known}: was it lost, or is it an older one?",
                    submission.old
                );
                is_first.then_some(("state_behind", about))
            }
            Refusal::EmptyRoot | Refusal::Fork => {
                self.contradicted = Some((now_s, refusal));
                self.contradictions += 1;
                // Somebody who sends it again and again has nothing new to say, and pushes out what others' logs did.
                let tree = (size, root.0);
                if self.told.contains(&tree) || self.told.len() >= TOLD_MAX {
                    return None;
                }
                self.told.insert(tree);
                let seen = other.as_ref().map_or(Hash::EMPTY, |other| other.root);
                let about = format!(
                    "a signed checkpoint of {size} records was submitted that contradicts what was seen before: its root is {root}, and {seen} was seen"
                );
                Some(("contradiction", about))
            }
            Refusal::Proof => {
                self.unproven += 1;
                // One that could be none is nobody's alarm of the hour.
                if submission.old == 0 || size <= submission.old {
                    return None;
                }
                let is_first = self.unproven_hour.replace(hour) != Some(hour);
                let about = format!(
                    "a signed checkpoint of {size} records was submitted without a proof that it extends the one of {} that was cosigned",
                    submission.old
                );
                is_first.then_some(("unproven", about))
            }
            _ => None,
        }
    }
}

/// A submission that is not cosigned.
struct Refused<'r> {
    refusal: Refusal,
    submission: &'r Submission<'r>,
    checkpoint: &'r Checkpoint,
    other: Option<Other>,
    now_s: i64,
}

/// Whether the checkpoint, which contradicts nothing by itself and is said to follow what is kept, extends it.
fn grew(
    kept: Option<&Kept>,
    submission: &Submission<'_>,
    checkpoint: &Checkpoint,
) -> Result<(), Refusal> {
    let (size, root) = kept.map_or((0, Hash::EMPTY), |kept| (kept.size, kept.root));
    let new = (checkpoint.size, &checkpoint.root);
    proof::verify_consistency((size, &root), new, &submission.proof).map_err(|_| Refusal::Proof)
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
/// Of each log, since this process began: far more than the evidence that is kept.
const TOLD_MAX: usize = 1_024;
/// Seconds that a clock may be set back without an alarm.
const BEHIND_MAX_S: i64 = 60;
const HTML: &str = "text/html; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";
/// Set by the specification.
const SIZE: &str = "text/x.tlog.size";
const KEY_KIND: Kind = Kind::Cosignature;
