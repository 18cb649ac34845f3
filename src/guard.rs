//! At a GPU site, in front of its service: lets in only what carries a valid, fresh, unused receipt for this site and this
//! very request from a log that the site trusts. Needs no database and no word of the gateway's operator.
//!
//! Reading order: [`ticket`] (what a request must show), [`used`] (each receipt once), [`follow`] (the tree is the
//! one that everybody sees), [`journal`] (what was let in and what was not), [`upstream`] (the service).
//!
//! *Invariant:* the service is reached through [`upstream`] alone, which takes an [`Admitted`]; that has one maker, and it
//! runs after every check, the receipt marked as used and the line in the journal.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use prometheus_client::registry::Registry;
use sha2::{Digest as _, Sha256};
use tlog::Policy;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::workload::{self, Protocol};

mod config;
mod follow;
mod followed;
mod journal;
mod lane;
mod metrics;
mod noted;
mod reconcile;
mod refused;
mod service;
mod ticket;
mod upstream;
mod used;

pub use config::{Config, FollowConfig, GuardError};
pub use follow::Stands;
pub use journal::{Entry, What, entries};
pub use reconcile::{Allow, Hour, Mismatch, Report, reconcile, unknown};
pub use refused::Refused;

use follow::Follow;
use journal::{Journal, Start};
use metrics::Counters;
use ticket::{Here, Notes, Ticket};
use upstream::Upstream;
use used::Used;

/// The guard of one site.
pub struct Guard {
    here: Here,
    notes: Notes,
    follow: Option<Arc<Follow>>,
    used: Used,
    journal: Arc<Journal>,
    upstream: Upstream,
    counters: Counters,
    clock: Clock,
    body_bytes_max: u64,
}

/// What the guard answers: the service's own body as it comes, or a text of ours.
pub type Body = Either<Incoming, Full<Bytes>>;

/// A request that may go to the service, as far as the leaf names it. Not to be had but from [`Guard::admit`].
struct Admitted {
    method: Method,
    /// Of which path and query count.
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Guard {
    /// Reads the trust file, opens the journal (and says in it that the guard starts).
    ///
    /// # Errors
    /// When a file cannot be used; nothing is served then.
    pub fn start(
        config: &Config,
        clock: Clock,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, GuardError> {
        let trust = std::fs::read_to_string(&config.trust)
            .map_err(|cause| GuardError::Read { path: config.trust.clone(), cause })?;
        let trust: Policy = trust
            .parse()
            .map_err(|cause| GuardError::Trust { path: config.trust.clone(), cause })?;
        let started_ns = clock.unix_ns();
        let used = Used::new(config.window_ns());
        let boot = journal::boot();
        let starts = Start {
            site: &config.site,
            boot: boot.as_deref(),
            now_ns: started_ns,
            since_ns: started_ns.saturating_sub(config.window_ns()),
            skew_ns: config.skew_ns(),
        };
        // A record may be later than this guard's start by what clocks differ, and used before it.
        let (journal, not_before_ns) = Journal::open(&config.journal, starts, |lane, index| {
            let _used_or_forgotten = used.take(lane, index, started_ns);
        })?;
        let journal = Arc::new(journal);
        tracker.spawn(Arc::clone(&journal).keep(clock.clone(), stop.clone()));
        let counters = Counters::default();
        let follow = match &config.follow {
            Some(follow) => {
                let follow = Follow::open(follow, &trust, counters.clone(), clock.clone())?;
                let follow = Arc::new(follow);
                tracker.spawn(stop.run_until_cancelled_owned(Arc::clone(&follow).run()));
                Some(follow)
            }
            None => None,
        };
        Ok(Self {
            here: Here::new(config, not_before_ns),
            notes: Notes::new(trust),
            follow,
            used,
            journal,
            upstream: Upstream::new(config)?,
            counters,
            clock,
            body_bytes_max: config.body_bytes_max,
        })
    }

    pub fn register(&self, registry: &mut Registry) {
        self.counters.register(registry);
    }

    /// How each followed lane stands; nothing when none is followed.
    #[must_use]
    pub fn stands(&self) -> Vec<Stands> {
        self.follow.iter().flat_map(|follow| follow.stands()).collect()
    }

    /// Why nothing can be let in, whatever its receipt.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.journal.trouble()
    }

    /// Answers one request. `network` is where it came from, for the journal: a prefix, never an address.
    pub async fn handle<B>(&self, network: &str, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin,
    {
        let (head, body) = request.into_parts();
        let admitted = match self.admit(head, body).await {
            Ok(admitted) => admitted,
            Err((refused, decision)) => return self.refuse(refused, decision.as_deref(), network),
        };
        self.counters.consumed();
        match self.upstream.send(admitted).await {
            Ok(response) => response.map(Either::Left),
            // If we stop here, or the service did not answer, the receipt is used all the same: it may have been reached.
            Err(cause) => {
                tracing::warn!(cause, "the service did not answer");
                self.counters.refused(Refused::ServiceDown);
                answer(Refused::ServiceDown)
            }
        }
    }

    /// Every check, in the order of what it costs. An error carries the decision as far as a trusted leaf named it.
    async fn admit<B>(&self, head: Parts, body: B) -> Result<Admitted, (Refused, Option<String>)>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin,
    {
        let ticket = Ticket::read(&head.headers).map_err(|refused| (refused, None))?;
        let proven = self.notes.prove(&ticket).map_err(|refused| (refused, None))?;
        let named = |refused| (refused, Some(proven.decision.clone().into_owned()));
        let now_ns = self.clock.unix_ns();
        proven.is_for(&self.here, &head, now_ns).map_err(named)?;
        if let Some(follow) = &self.follow {
            follow.fits(&proven.tree).await.map_err(named)?;
        }
        if proven.body_bytes > self.body_bytes_max {
            return Err(named(Refused::BodyTooLarge));
        }
        // What would be refused anyway takes no memory: whoever has a used receipt could send its body any number of times at once.
        self.used.look(&proven.tree.origin, proven.index).map_err(named)?;
        let body = whole(body, proven.body_bytes).await.map_err(named)?;
        if Sha256::digest(&body).as_slice() != proven.body {
            return Err(named(Refused::OtherBody));
        }
        // While the body came, its log may have been found forked.
        if let Some(follow) = &self.follow {
            follow.is_open(&proven.tree.origin).map_err(named)?;
        }
        // That may have taken minutes, and the others went on: what is remembered and written down is of now.
        let now_ns = self.clock.unix_ns();
        self.used.take(&proven.tree.origin, proven.index, now_ns).map_err(named)?;
        let consumed = Entry::consumed(&proven, now_ns);
        self.journal.write(consumed).await.map_err(|cause| {
            tracing::error!(%cause, "the journal cannot be written: nothing is let in");
            named(Refused::NoJournal)
        })?;
        let headers = service::to_service(&head.headers, &proven);
        Ok(Admitted { method: head.method, uri: head.uri, headers, body })
    }

    /// Writes down that a request was refused before anybody could read it: by which published rule of the wire, and for whom.
    pub fn unreadable(&self, network: &str, rule: &str) {
        self.write_down(rule, None, network);
    }

    fn refuse(&self, refused: Refused, decision: Option<&str>, network: &str) -> Response<Body> {
        self.counters.refused(refused);
        self.write_down(refused.code(), decision, network);
        answer(refused)
    }

    fn write_down(&self, why: &str, decision: Option<&str>, network: &str) {
        let entry = Entry::refused(why, decision, network, self.clock.unix_ns());
        if let Err(cause) = self.journal.refusal(&entry) {
            tracing::error!(%cause, "a refusal could not be written into the journal");
        }
    }
}

/// The whole body: as long as the leaf says, and nothing more is read.
async fn whole<B>(body: B, bytes: u64) -> Result<Bytes, Refused>
where
    B: http_body::Body<Data = Bytes, Error = io::Error>,
{
    let limit = usize::try_from(bytes).map_err(|_| Refused::BodyTooLarge)?;
    let read = Limited::new(body, limit).collect().await.map_err(|_| Refused::OtherBody)?;
    Ok(read.to_bytes())
}

/// In the shape that clients of the service know.
fn answer(refused: Refused) -> Response<Body> {
    let refusal = workload::Refusal {
        status: refused.status().as_u16(),
        code: refused.code(),
        message: refused.message(),
        param: None,
    };
    let native = workload::refuse(Protocol::OpenAi, &refusal);
    let mut response = Response::builder()
        .status(native.status)
        .header("content-type", native.content_type)
        .header("cache-control", "no-store");
    for (name, value) in native.headers {
        response = response.header(name, value);
    }
    response.body(Either::Right(Full::new(native.body))).unwrap_or_else(|_| {
        let mut bare = Response::new(Either::Right(Full::default()));
        *bare.status_mut() = StatusCode::FORBIDDEN;
        bare
    })
}
