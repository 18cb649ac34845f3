//! One record as bytes: a [`Stamp`] and what happened become a leaf as docs/record.md fixes it.
//!
//! *Invariant:* no payload, no token, no personal value: people and certificates come in as salted digests only.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use crate::program;

use super::{
    Act, AuditError, Draft, Ended, Stranger, Target,
    highwater::Mark,
    instant,
    json::{self, Object},
};

/// Where and when a record stands: what every leaf carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub lane: u16,
    pub index: u64,
    pub epoch: u64,
    pub at_ns: i64,
    /// What the clock said, where the lane's times are well ahead of it.
    pub clock_ns: Option<i64>,
    pub id: Uuid,
    pub nonce: [u8; 16],
}

/// A draft whose digests were read, so that writing its leaf cannot fail.
#[derive(Debug)]
pub(super) struct Decision {
    pub draft: Draft,
    pub body: [u8; 32],
    pub token: Option<[u8; 32]>,
}

/// Salted digests of who asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub actor: [u8; 32],
    pub certificate: Option<[u8; 32]>,
}

/// A record that is not a decision.
#[derive(Debug, Clone)]
pub(super) enum Notice {
    Started {
        decision: std::sync::Arc<str>,
        identity: std::sync::Arc<str>,
    },
    Ended(Ended),
    Unauthenticated {
        minute: i64,
        rows: Vec<(Stranger, u64)>,
        more: u64,
    },
    LaneOpen {
        origin: String,
        key: String,
        also: Vec<String>,
        /// SHA-256 of the program's file, where it could be read.
        build: Option<[u8; 32]>,
        version: i64,
        /// Of the entries of that version, where a change of the registry made it.
        digest: Option<[u8; 32]>,
        root: [u8; 32],
    },
    LaneClose {
        why: &'static str,
    },
    /// The lane `of` lost records that were `known`; its database has what was `found`.
    Rollback {
        of: u16,
        known: Mark,
        found: Mark,
        cluster: String,
        cluster_known: Option<String>,
    },
    FactChange {
        version: i64,
        previous: i64,
        actor: Option<[u8; 32]>,
        digest: Option<[u8; 32]>,
    },
    PolicyChange {
        bundle: [u8; 32],
        previous: Option<[u8; 32]>,
    },
    Clock {
        seen_ns: i64,
        behind_ns: u64,
    },
    Alarm {
        what: &'static str,
        about: String,
        decision: Option<std::sync::Arc<str>>,
    },
    Heartbeat {
        heads: Vec<Head>,
    },
    /// Of people: written by [`act`].
    Act(std::sync::Arc<Act>),
}

impl Notice {
    /// Opens or closes one epoch of one lane.
    pub const fn is_of_epoch(&self) -> bool {
        matches!(self, Self::LaneOpen { .. } | Self::Rollback { .. } | Self::LaneClose { .. })
    }
}

/// A lane's committed state as another lane's heartbeat keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub lane: u16,
    pub epoch: u64,
    pub size: u64,
    pub root: [u8; 32],
}

/// Writes a decision's leaf at the end of the buffer.
pub(super) fn decision(out: &mut Vec<u8>, stamp: &Stamp, decision: &Decision, who: &Who) {
    let Decision { draft, body, token } = decision;
    let mut leaf = Object::open(out);
    leaf.bytes("actor", &who.actor);
    leaf.text("actor_kind", draft.actor_kind);
    leaf.text_if("actor_place", draft.actor_place.as_deref());
    leaf.text("at", &instant::text(stamp.at_ns));
    leaf.bytes("body", body);
    leaf.number("body_bytes", draft.body_bytes);
    leaf.bytes("bundle", &draft.bundle.digest);
    leaf.bytes_if("certificate", who.certificate.as_ref());
    leaf.text_if("clock", stamp.clock_ns.map(instant::text).as_deref());
    leaf.text("credential", draft.credential);
    datasets(&mut leaf, &draft.datasets);
    leaf.bytes("detail", &draft.detail.digest);
    leaf.number("epoch", stamp.epoch);
    leaf.signed("fact_version", draft.fact_version);
    leaf.bytes("facts", &draft.facts.digest);
    leaf.text_if("grade", draft.demands().map(super::Grade::code));
    let mut id = Uuid::encode_buffer();
    leaf.text("id", stamp.id.as_hyphenated().encode_lower(&mut id));
    let site = draft.site.as_ref();
    leaf.text_if("identity", site.map(|site| &*site.identity));
    leaf.number("index", stamp.index);
    leaf.text_if("issuer", draft.issuer.as_deref());
    leaf.signed("judged", draft.judged_at);
    leaf.text_if("judges_again", draft.judges_again.as_deref());
    leaf.signed("keep_until", draft.retention.until(stamp.at_ns));
    leaf.text("kind", if draft.preflight { "preflight" } else { "decision" });
    leaf.number("lane", stamp.lane.into());
    leaf.text("network", &draft.network);
    leaf.bytes("nonce", &stamp.nonce);
    leaf.text("operation", draft.operation);
    leaf.text("org", &draft.org);
    leaf.name("outcome", draft.outcome);
    leaf.text("protocol", draft.protocol);
    leaf.text_if("purpose", draft.purpose.as_deref());
    leaf.name("reason", draft.reason);
    if let Some(site) = site {
        leaf.object("request", |request| upstream(request, site));
    }
    leaf.text("retention", draft.retention.class);
    leaf.text_if("retries", draft.retries.as_deref());
    leaf.text_if("rule", draft.rule.as_deref());
    leaf.text("service", &draft.service);
    leaf.text_if("site", site.map(|site| &*site.site));
    leaf.bytes_if("token", token.as_ref());
    leaf.text("trace", &draft.trace_id);
    leaf.number("v", VERSION);
    if let Some(until) = draft.valid_until {
        leaf.signed("valid_until", until);
    }
    leaf.close();
}

/// Writes any other leaf at the end of the buffer.
pub(super) fn notice(out: &mut Vec<u8>, stamp: &Stamp, notice: &Notice) {
    let (at, mut id) = (instant::text(stamp.at_ns), Uuid::encode_buffer());
    let seen = match notice {
        Notice::Clock { seen_ns, .. } => instant::text(*seen_ns),
        _ => String::new(),
    };
    let mut fields = Vec::with_capacity(FIELDS_USUAL);
    fields.extend([
        ("at", Field::Text(&at)),
        ("epoch", Field::Number(stamp.epoch)),
        ("id", Field::Text(stamp.id.as_hyphenated().encode_lower(&mut id))),
        ("index", Field::Number(stamp.index)),
        ("lane", Field::Number(stamp.lane.into())),
        ("nonce", Field::Bytes(&stamp.nonce)),
        ("v", Field::Number(VERSION)),
    ]);
    kind(&mut fields, stamp, notice, &seen);
    fields.sort_unstable_by_key(|(key, _)| *key);
    write(out, &fields);
}

/// Writes the leaf of an act at the end of the buffer. `people` are digests, in the order of the act's.
pub(super) fn act(
    out: &mut Vec<u8>,
    stamp: &Stamp,
    act: &Act,
    people: &[[u8; 32]],
) -> Result<(), AuditError> {
    let people: Vec<_> = people.iter().map(|digest| STANDARD.encode(digest)).collect();
    let mut leaf = serde_json::Map::new();
    leaf.extend(act.keys().into_iter().map(|(key, value)| (key.to_owned(), value.clone())));
    if !people.is_empty() {
        leaf.insert("people".to_owned(), people.into());
    }
    let own = [
        ("at", instant::text(stamp.at_ns).into()),
        ("epoch", stamp.epoch.into()),
        ("event", act.event.to_string().into()),
        ("id", stamp.id.to_string().into()),
        ("index", stamp.index.into()),
        ("kind", act.kind.name().into()),
        ("lane", stamp.lane.into()),
        ("nonce", STANDARD.encode(stamp.nonce).into()),
        ("v", VERSION.into()),
    ];
    // The last word: whatever the body says, these are ours.
    leaf.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let bytes =
        verdict::canonical(&leaf).map_err(|cause| AuditError::Content(cause.to_string()))?;
    out.extend_from_slice(&bytes);
    Ok(())
}

/// The keys of one kind.
fn kind<'a>(
    fields: &mut Vec<(&'static str, Field<'a>)>,
    stamp: &'a Stamp,
    notice: &'a Notice,
    seen: &'a str,
) {
    match notice {
        Notice::Started { decision, identity } => fields.extend([
            ("kind", Field::Text("started")),
            ("decision", Field::Text(decision)),
            ("identity", Field::Text(identity)),
        ]),
        Notice::Ended(end) => ended(fields, end),
        Notice::Unauthenticated { minute, rows, more } => {
            fields.extend([
                ("kind", Field::Text("unauthenticated")),
                ("minute", Field::signed(*minute)),
                ("rows", Field::Strangers(rows)),
            ]);
            fields.extend((*more > 0).then_some(("more", Field::Number(*more))));
        }
        Notice::LaneOpen { .. } | Notice::Rollback { .. } => opening(fields, stamp, notice),
        Notice::LaneClose { why } => {
            fields.extend([("kind", Field::Text("lane_close")), ("why", Field::Text(why))]);
        }
        Notice::FactChange { version, previous, actor, digest } => {
            fields.extend([
                ("kind", Field::Text("fact_change")),
                ("previous", Field::signed(*previous)),
                ("version", Field::signed(*version)),
            ]);
            fields.extend(actor.as_ref().map(|actor| ("actor", Field::Bytes(actor))));
            fields.extend(digest.as_ref().map(|digest| ("digest", Field::Bytes(digest))));
        }
        Notice::PolicyChange { bundle, previous } => {
            fields
                .extend([("kind", Field::Text("policy_change")), ("bundle", Field::Bytes(bundle))]);
            fields.extend(previous.as_ref().map(|digest| ("previous", Field::Bytes(digest))));
        }
        Notice::Clock { behind_ns, .. } => {
            fields.extend([
                ("kind", Field::Text("clock")),
                ("behind_ns", Field::Number(*behind_ns)),
                ("seen", Field::Text(seen)),
            ]);
        }
        Notice::Alarm { what, about, decision } => {
            fields.extend([
                ("kind", Field::Text("alarm")),
                ("about", Field::Text(about)),
                ("what", Field::Text(what)),
            ]);
            fields.extend(decision.as_deref().map(|id| ("decision", Field::Text(id))));
        }
        Notice::Heartbeat { heads } => {
            fields.extend([("kind", Field::Text("heartbeat")), ("heads", Field::Heads(heads))]);
        }
        // Its keys are not known beforehand.
        Notice::Act(act) => fields.push(("kind", Field::Text(act.kind.name()))),
    }
}

/// The records with which an epoch, or a generation, opens.
fn opening<'a>(fields: &mut Vec<(&'static str, Field<'a>)>, stamp: &'a Stamp, notice: &'a Notice) {
    match notice {
        Notice::LaneOpen { origin, key, also, build, version, digest, root } => {
            fields.extend([
                ("kind", Field::Text("lane_open")),
                ("build", Field::Text(program::BUILD)),
                ("key", Field::Text(key)),
                ("origin", Field::Text(origin)),
                ("root", Field::Bytes(root)),
                ("size", Field::Number(stamp.index)),
                ("version", Field::signed(*version)),
            ]);
            fields.extend((!also.is_empty()).then_some(("also", Field::Texts(also))));
            fields.extend(build.as_ref().map(|digest| ("build_digest", Field::Bytes(digest))));
            fields.extend(digest.as_ref().map(|digest| ("digest", Field::Bytes(digest))));
        }
        Notice::Rollback { of, known, found, cluster, cluster_known } => {
            fields.extend([
                ("kind", Field::Text("rollback")),
                ("cluster", Field::Text(cluster)),
                ("found", Field::Number(found.size)),
                ("found_root", Field::Bytes(&found.root.0)),
                ("of", Field::Number((*of).into())),
                ("root", Field::Bytes(&known.root.0)),
                ("size", Field::Number(known.size)),
            ]);
            let before = cluster_known.as_deref();
            fields.extend(before.map(|text| ("cluster_known", Field::Text(text))));
        }
        _ => {}
    }
}

fn ended<'a>(fields: &mut Vec<(&'static str, Field<'a>)>, end: &'a Ended) {
    fields.extend([
        ("kind", Field::Text("ended")),
        ("bytes_back", Field::Number(end.bytes_back)),
        ("bytes_out", Field::Number(end.bytes_out)),
        ("decision", Field::Text(&end.id)),
        ("duration_ms", Field::Number(end.duration_ms)),
        ("how", Field::Text(end.how.code())),
    ]);
    fields.extend(end.status.map(|status| ("status", Field::Number(status.into()))));
    fields.extend(end.why.map(|why| ("why", Field::Text(why))));
    if let Some(withdrawn) = &end.withdrawn {
        fields.extend([
            ("fact_version", Field::signed(withdrawn.fact_version)),
            ("reason", Field::Text(withdrawn.reason.code())),
        ]);
        fields.extend(withdrawn.by.as_deref().map(|id| ("cut_by", Field::Text(id))));
        fields.extend(withdrawn.rule.as_deref().map(|rule| ("rule", Field::Text(rule))));
    }
}

/// A value of a record that is not a decision.
#[derive(Clone, Copy)]
enum Field<'a> {
    Text(&'a str),
    Number(u64),
    Bytes(&'a [u8]),
    Texts(&'a [String]),
    Strangers(&'a [(Stranger, u64)]),
    Heads(&'a [Head]),
}

impl Field<'_> {
    fn signed(value: i64) -> Self {
        Self::Number(u64::try_from(value).unwrap_or(0))
    }
}

fn write(out: &mut Vec<u8>, fields: &[(&'static str, Field<'_>)]) {
    let mut leaf = Object::open(out);
    for (key, field) in fields {
        match field {
            Field::Text(value) => leaf.text(key, value),
            Field::Number(value) => leaf.number(key, *value),
            Field::Bytes(value) => leaf.bytes(key, value),
            Field::Texts(all) => leaf.array(key, all.iter(), |out, text| json::text(out, text)),
            Field::Strangers(rows) => leaf.array(key, rows.iter(), stranger),
            Field::Heads(heads) => leaf.array(key, heads.iter(), head),
        }
    }
    leaf.close();
}

fn stranger(out: &mut Vec<u8>, (who, count): &(Stranger, u64)) {
    let mut row = Object::open(out);
    row.number("count", *count);
    row.text_if("issuer", who.issuer.as_deref());
    row.text("network", &who.network);
    row.text("reason", who.reason);
    row.close();
}

fn head(out: &mut Vec<u8>, head: &Head) {
    let mut row = Object::open(out);
    row.number("epoch", head.epoch);
    row.number("lane", head.lane.into());
    row.bytes("root", &head.root);
    row.number("size", head.size);
    row.close();
}

fn upstream(request: &mut Object<'_>, site: &Target) {
    request.text("authority", &site.authority);
    request.text_if("content_type", site.content_type);
    request.text("method", site.method);
    request.text("path", site.path);
}

/// As many ids as fit; `facts` has them all.
fn datasets(leaf: &mut Object<'_>, ids: &[std::sync::Arc<str>]) {
    let mut room = DATASETS_BYTES;
    let fitting = ids.iter().take_while(|id| {
        let fits = id.len() <= room;
        room = room.saturating_sub(id.len());
        fits
    });
    let shown = fitting.count();
    if shown > 0 {
        leaf.array("datasets", ids.iter().take(shown), |out, id| json::text(out, id));
    }
    if shown < ids.len() {
        leaf.number("datasets_more", (ids.len() - shown) as u64);
    }
}

/// Schema version of docs/record.md.
const VERSION: u64 = 1;
/// Keys of a leaf that is not a decision: an `ended` has 13 to 19.
const FIELDS_USUAL: usize = 19;
/// Of the 1,200 bytes of a realistic leaf about 900 are taken by everything else.
const DATASETS_BYTES: usize = 300;
/// A leaf and its receipt travel in request headers of 6 kB: 2,048 bytes are 2,732 in base64, a receipt takes 1.9 kB.
pub(super) const DECISION_BYTES_MAX: usize = 2_048;
