//! What is kept: a decision becomes a durable record, and only then a [`Permit`] or a refusal with its proof.
//!
//! *Invariant:* there is one maker of a `Permit`, and it runs after the commit returned. Nothing here changes or removes
//! what was written.
//!
//! Reading order: [`leaf`] (a record as bytes), [`queue`] (what waits), [`batch`] (what waits becomes a commit), [`lane`]
//! (claim, commit, release), [`recorder`] (what the gate calls); [`outbox`] brings the acts of people; [`projection`] and
//! [`closing`] follow the log, [`verify`], [`export`], [`served`] and [`recorded`] read it;
//! [`private`] is what is kept of people beside it, [`reviewer`] who sees which part of it with tools of their own.

mod allows;
mod batch;
mod case;
mod chance;
mod closing;
mod commit;
mod config;
mod cosigned;
mod export;
mod generation;
mod health;
mod highwater;
mod instant;
mod json;
mod keeps;
mod key;
mod lane;
mod leaf;
mod metrics;
mod opens;
mod outbox;
mod private;
mod projection;
mod prove;
mod publish;
mod queue;
mod recent;
mod recorded;
mod recorder;
mod retention;
mod reviewer;
mod row;
mod seal;
mod served;
mod store;
mod strangers;
mod tables;
mod verify;
mod witnessed;

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use verdict::decision::Outcome;

pub use allows::{Allowed, allows, allows_at};
pub use case::{Case, CaseText, case};
pub use config::{AuditError, Config, Durability};
pub use cosigned::{Published, consistency, keep_cosignature, published};
pub use export::{Exported, Range, checkpoints, export};
pub use health::{Health, LaneHealth};
pub use keeps::{Held, Keeps};
pub use key::Key;
pub use outbox::{Act, ActKind};
pub use private::disclose::{DiscloseError, Disclosure, disclose};
pub use private::erase::{
    Confirmed, EraseError, Erased, Step, Subject, ask_erasure, confirm_erasure, vacuum,
};
pub use private::former::{Forgot, ask_forget, confirm_forget};
pub use private::rewrap::{Rewrapped, rewrap};
pub use prove::{Part, Proven, prove, prove_own, prove_place};
pub use recorded::{ExportFile, Records};
pub use recorder::{Audit, Secrets};
pub use retention::Retention;
pub use reviewer::{Reviewer, ReviewerError, add_reviewer, remove_reviewer, reviewers};
pub use served::{checkpoint, resource, text};
pub use verify::{
    Finding, NO_LANE, Newest, OPEN_S, Plain, Progress, Report, State, Watch, verify,
    verify_watched, verify_with,
};

/// Everything unique to one request that its leaf keeps. No payload, no token, no raw personal field:
/// `actor` is digested here before it is written.
#[derive(Debug, Clone)]
pub struct Draft {
    pub org: Arc<str>,
    pub actor: Arc<str>,
    /// `human` or `service`.
    pub actor_kind: &'static str,
    pub actor_place: Option<Arc<str>>,
    /// `token`, `certificate`, `token+certificate`.
    pub credential: &'static str,
    pub issuer: Option<Arc<str>>,
    pub token_digest: Option<Arc<str>>,
    pub certificate_id: Option<Arc<str>>,
    /// Client network as /24 or /48 prefix.
    pub network: String,
    /// `openai`.
    pub protocol: &'static str,
    /// `chat.completions`, ...
    pub operation: &'static str,
    pub service: Arc<str>,
    pub datasets: Vec<Arc<str>>,
    pub purpose: Option<Arc<str>>,
    /// W3C trace id, 32 hex digits.
    pub trace_id: String,
    /// Hex SHA-256 of the request body (of nothing when there is none) and its length.
    pub body_digest: String,
    pub body_bytes: u64,
    pub outcome: Outcome,
    /// Code of the first reason, e.g. `NO_GROUND`, and its rule.
    pub reason: verdict::reason::Reason,
    pub rule: Option<Arc<str>>,
    /// The chosen site; present if and only if the outcome allows.
    pub site: Option<Target>,
    /// Every flow as (from, to) with the entity, for the projections: what left where.
    pub detail: Arc<Text>,
    pub facts: Arc<Text>,
    pub bundle: Arc<Text>,
    /// Unix seconds for which the facts were judged: the `at` given to the judge, so that it can be judged again.
    pub judged_at: i64,
    /// The fact version that was judged: the commit checks it.
    pub fact_version: i64,
    /// Unix seconds until which the decision holds.
    pub valid_until: Option<i64>,
    /// The decision this one retries elsewhere.
    pub retries: Option<String>,
    /// The allowed decision that this one judged again, and refuses, while its answer was under way.
    pub judges_again: Option<Arc<str>>,
    pub keeps: Keeps,
    pub retention: Retention,
    /// A look ahead: recorded as such, allows nothing, names no site.
    pub preflight: bool,
    /// Nothing may be forwarded before witnesses cosigned the record: [`Audit::witness`].
    pub witnessed: bool,
}

impl Draft {
    /// What the receipt must be worth before anything is forwarded, when that is more than usual.
    fn demands(&self) -> Option<Grade> {
        (self.witnessed && self.site.is_some()).then_some(Grade::Witnessed)
    }
}

/// Where an allowed request goes: the identity is part of the record and of the guard's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub site: Arc<str>,
    /// SPIFFE id or `spki:sha256/...` that the TLS connection must show.
    pub identity: Arc<str>,
    /// Upstream request, as the site's guard will see it.
    pub method: &'static str,
    pub authority: Arc<str>,
    pub path: &'static str,
    pub content_type: Option<&'static str>,
}

/// A content-addressed text: bytes and their SHA-256. Made once, shared by the requests that repeat it.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    pub digest: [u8; 32],
    pub bytes: Bytes,
}

impl Text {
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { digest: Sha256::digest(&bytes).into(), bytes }
    }
}

/// The key to forwarding: proof that an ALLOW for exactly this request is durable.
/// Private fields, no Clone, no Default, no Deserialize; `forward::send` consumes it.
///
/// It cannot be forged:
/// ```compile_fail
/// use haetae::audit::Permit as Noun;
/// fn forge(noun: Noun) -> Noun {
///     Noun { ..noun }
/// }
/// ```
/// (a noun with public fields can be)
/// ```
/// use haetae::audit::Target as Noun;
/// fn forge(noun: Noun) -> Noun {
///     Noun { ..noun }
/// }
/// ```
/// nor copied:
/// ```compile_fail
/// use haetae::audit::Permit as Noun;
/// fn copy(noun: &Noun) -> Noun {
///     noun.clone()
/// }
/// ```
/// (the same with a noun that may be copied compiles)
/// ```
/// use haetae::audit::Target as Noun;
/// fn copy(noun: &Noun) -> Noun {
///     noun.clone()
/// }
/// ```
/// nor spent twice:
/// ```compile_fail
/// use haetae::audit::Permit;
/// fn spend(_: Permit) {}
/// fn twice(permit: Permit, other: Permit) {
///     spend(permit);
///     spend(permit);
/// }
/// ```
/// (two permits may be spent)
/// ```
/// use haetae::audit::Permit;
/// fn spend(_: Permit) {}
/// fn twice(permit: Permit, other: Permit) {
///     spend(permit);
///     spend(other);
/// }
/// ```
#[must_use = "a permit that is not used must be ended as not_forwarded"]
#[derive(Debug)]
pub struct Permit {
    target: Target,
    body_digest: String,
    proof: Proof,
}

impl Permit {
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Hex SHA-256 of the body that may be forwarded.
    #[must_use]
    pub fn body_digest(&self) -> &str {
        &self.body_digest
    }

    #[must_use]
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }
}

/// What proves a record: its leaf and its C2SP tlog-proof.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Decision id: a UUID of version 7, hyphenated.
    pub id: Arc<str>,
    /// The leaf's bytes, as they stand in a header: a byte sequence of RFC 9651.
    pub leaf: Bytes,
    /// The tlog-proof text, likewise.
    pub receipt: Bytes,
    pub grade: Grade,
}

/// What a receipt is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// The log signed a tree with the record.
    Logged,
    /// And so did the quorum of witnesses that the configuration names.
    Witnessed,
}

impl Grade {
    /// As in headers and leaves.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Witnessed => "witnessed",
        }
    }
}

/// The one result of recording.
#[derive(Debug)]
pub enum Recorded {
    Permit(Permit),
    Refusal(Proof),
}

/// Why nothing was recorded. Every one of them means 503, nothing forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the audit queue is full")]
    Full,
    #[error("the audit store did not confirm in time")]
    Timeout,
    #[error("the audit store is not available")]
    Unavailable,
    /// The facts moved before the commit: judge again on a newer snapshot (the gate does, a few times).
    #[error("the facts changed before the commit: version {now} is in force")]
    FactsMoved { now: i64 },
    /// What the decision would have used up was given to another meanwhile: reserve and judge again.
    #[error("the reservation of the decision is no longer there")]
    Unreserved,
    #[error("the record is larger than a leaf may be")]
    TooLarge,
    /// A digest of the draft is not hex: a fault of ours.
    #[error("the record cannot be written: {0}")]
    Malformed(&'static str),
}

/// How a forwarded request ended, for the `ended` record.
#[derive(Debug, Clone)]
pub struct Ended {
    pub id: Arc<str>,
    pub how: How,
    pub status: Option<u16>,
    pub bytes_out: u64,
    pub bytes_back: u64,
    pub duration_ms: u64,
    /// A reason when it was cut short.
    pub why: Option<&'static str>,
    /// The judgement that took the allow back, when it was cut for that.
    pub withdrawn: Option<Arc<Withdrawn>>,
}

/// An allow that was judged again while its answer was under way, and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// Id of the record of that judgement; none when it could not be recorded, which saved no answer from the cut.
    pub by: Option<Arc<str>>,
    /// The fact version that was judged.
    pub fact_version: i64,
    /// Its first reason, and the rule.
    pub reason: verdict::reason::Reason,
    pub rule: Option<Arc<str>>,
}

impl Ended {
    /// Nothing of the request reached a site.
    #[must_use]
    pub const fn not_forwarded(id: Arc<str>, why: &'static str) -> Self {
        Self::without_traffic(id, How::NotForwarded, why)
    }

    const fn without_traffic(id: Arc<str>, how: How, why: &'static str) -> Self {
        Self {
            id,
            how,
            status: None,
            bytes_out: 0,
            bytes_back: 0,
            duration_ms: 0,
            why: Some(why),
            withdrawn: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Forwarded,
    Partial,
    NotForwarded,
    UnknownCrash,
}

impl How {
    /// The published code, as in the record.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Partial => "partial",
            Self::NotForwarded => "not_forwarded",
            Self::UnknownCrash => "unknown_crash",
        }
    }
}

/// A refusal of somebody unknown: aggregated by minute, so that a stranger cannot fill the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stranger {
    pub issuer: Option<String>,
    /// Published code, e.g. `token_expired`, `framing`.
    pub reason: &'static str,
    pub network: String,
}
