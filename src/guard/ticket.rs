//! What a request must show: a receipt that proves a leaf under the site's trust file, and a leaf that allows this very
//! request here and now.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use hyper::HeaderMap;
use hyper::http::header::{CONTENT_TYPE, HOST, HeaderName};
use hyper::http::request::Parts;
use quick_cache::sync::Cache;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tlog::{
    Checkpoint, Hash, Policy, Receipt,
    proof::{Path, ProofError},
};

use super::{Config, Refused};
use crate::byte_sequence;

/// Who this guard is, and since when.
#[derive(Debug)]
pub(super) struct Here {
    site: String,
    identity: String,
    age_ns: i64,
    skew_ns: i64,
    started_ns: i64,
}

/// What the headers hold; nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Ticket {
    leaf: Vec<u8>,
    receipt: Receipt,
}

/// What a trusted log says, in the ticket's own bytes.
#[derive(Debug)]
pub(super) struct Proven<'t> {
    /// The tree that the receipt proves it in; its origin is the lane's name.
    pub tree: Arc<Checkpoint>,
    pub index: u64,
    pub decision: Cow<'t, str>,
    /// SHA-256 and length of the request body.
    pub body: [u8; 32],
    pub body_bytes: u64,
    /// When its log wrote it, by its clock.
    made_ns: i64,
    site: Cow<'t, str>,
    identity: Cow<'t, str>,
    request: Upstream<'t>,
}

#[derive(Debug, Deserialize)]
struct Upstream<'t> {
    #[serde(borrow)]
    authority: Cow<'t, str>,
    #[serde(borrow)]
    content_type: Option<Cow<'t, str>>,
    #[serde(borrow)]
    method: Cow<'t, str>,
    #[serde(borrow)]
    path: Cow<'t, str>,
}

/// The keys of an allowing decision (docs/record.md) that the guard needs.
#[derive(Debug, Deserialize)]
struct Leaf<'t> {
    v: u64,
    #[serde(borrow)]
    kind: Cow<'t, str>,
    #[serde(borrow)]
    id: Cow<'t, str>,
    index: u64,
    #[serde(borrow)]
    at: Cow<'t, str>,
    #[serde(borrow)]
    clock: Option<Cow<'t, str>>,
    #[serde(borrow)]
    outcome: Cow<'t, str>,
    #[serde(borrow)]
    site: Cow<'t, str>,
    #[serde(borrow)]
    identity: Cow<'t, str>,
    #[serde(borrow)]
    body: Cow<'t, str>,
    body_bytes: u64,
    #[serde(borrow)]
    request: Upstream<'t>,
}

impl Here {
    pub fn new(config: &Config, started_ns: i64) -> Self {
        Self {
            site: config.site.clone(),
            identity: config.identity.clone(),
            age_ns: config.age_ns(),
            skew_ns: config.skew_ns(),
            started_ns,
        }
    }
}

impl Ticket {
    /// Each header exactly once, as a byte sequence.
    pub fn read(head: &HeaderMap) -> Result<Self, Refused> {
        let receipt = header(head, &RECEIPT)?.ok_or(Refused::NoReceipt)?;
        let leaf = header(head, &LEAF)?.ok_or(Refused::NoReceipt)?;
        let receipt = String::from_utf8(receipt).map_err(|_| Refused::Malformed)?;
        let receipt = receipt.parse().map_err(|_| Refused::Malformed)?;
        Ok(Self { leaf, receipt })
    }
}

/// The trust file, and the checkpoints that it was asked about: one is shared by all receipts of a commit.
pub(super) struct Notes {
    trust: Policy,
    /// By the whole note, so that nothing is taken for another.
    checked: Cache<Box<str>, Arc<Tree>>,
}

/// A trusted tree, and the way to its root that the first receipt showed: the others of a commit share most of it.
struct Tree {
    checkpoint: Arc<Checkpoint>,
    path: OnceLock<Path>,
}

impl Notes {
    pub fn new(trust: Policy) -> Self {
        Self { trust, checked: Cache::new(NOTES_MAX) }
    }

    /// The leaf is in the tree of a trusted log, and it is an allowing decision.
    pub fn prove<'t>(&self, ticket: &'t Ticket) -> Result<Proven<'t>, Refused> {
        let Ticket { leaf, receipt } = ticket;
        let tree = self.tree(&receipt.checkpoint)?;
        tree.holds(&Hash::leaf(leaf), receipt).map_err(|_| Refused::Untrusted)?;
        // One look at the encoding for all of its texts.
        let leaf = std::str::from_utf8(leaf).map_err(|_| Refused::NotAllowed)?;
        let leaf: Leaf<'_> = serde_json::from_str(leaf).map_err(|_| Refused::NotAllowed)?;
        Proven::of(leaf, Arc::clone(&tree.checkpoint), receipt.index)
    }

    fn tree(&self, note: &str) -> Result<Arc<Tree>, Refused> {
        if let Some(known) = self.checked.get(note) {
            return Ok(known);
        }
        let trusted = self.trust.check(note).map_err(|_| Refused::Untrusted)?;
        let checkpoint = Arc::new(trusted.checkpoint);
        let tree = Arc::new(Tree { checkpoint, path: OnceLock::new() });
        // A note may hold any number of lines that nobody knows the key of.
        if note.len() <= NOTE_KEPT_MAX {
            self.checked.insert(note.into(), Arc::clone(&tree));
        }
        Ok(tree)
    }
}

impl Tree {
    fn holds(&self, leaf: &Hash, receipt: &Receipt) -> Result<(), ProofError> {
        let Receipt { index, proof, .. } = receipt;
        if let Some(path) = self.path.get() {
            return path.verify_inclusion(leaf, *index, proof);
        }
        let (size, root) = (self.checkpoint.size, &self.checkpoint.root);
        let path = Path::verify(leaf, *index, size, root, proof)?;
        let _whoever_was_first = self.path.set(path);
        Ok(())
    }
}

impl<'t> Proven<'t> {
    fn of(leaf: Leaf<'t>, tree: Arc<Checkpoint>, index: u64) -> Result<Self, Refused> {
        let allows = ALLOWING.contains(&&*leaf.outcome);
        if leaf.v != VERSION || leaf.kind != "decision" || !allows || leaf.index != index {
            return Err(Refused::NotAllowed);
        }
        // A lane whose clock was ahead once has times that only creep on until it is as late as they say. One instant counts for a
        // receipt, whenever it is looked at: with two it would be young twice.
        let instant = |text: &str| {
            let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Refused::NotAllowed)?;
            i64::try_from(instant.unix_timestamp_nanos()).map_err(|_| Refused::NotAllowed)
        };
        let at_ns = instant(&leaf.at)?;
        let made_ns = leaf.clock.as_deref().map_or(Ok(at_ns), instant)?;
        // Only ever earlier than what everybody reads the record by.
        if made_ns > at_ns {
            return Err(Refused::NotAllowed);
        }
        let body: Hash = leaf.body.parse().map_err(|_| Refused::NotAllowed)?;
        Ok(Self {
            tree,
            index,
            decision: leaf.id,
            body: body.0,
            body_bytes: leaf.body_bytes,
            made_ns,
            site: leaf.site,
            identity: leaf.identity,
            request: leaf.request,
        })
    }

    /// Of the request, as it was recorded.
    pub fn content_type(&self) -> Option<&str> {
        self.request.content_type.as_deref()
    }

    /// The leaf allows this request, at this site, now.
    pub fn is_for(&self, here: &Here, head: &Parts, now_ns: i64) -> Result<(), Refused> {
        if self.site != here.site || self.identity != here.identity {
            return Err(Refused::OtherSite);
        }
        if !self.request.is(head) {
            return Err(Refused::OtherRequest);
        }
        if self.made_ns > now_ns.saturating_add(here.skew_ns) {
            return Err(Refused::FromTheFuture);
        }
        if self.made_ns < now_ns.saturating_sub(here.age_ns) {
            return Err(Refused::TooOld);
        }
        if self.made_ns < here.started_ns {
            return Err(Refused::BeforeStart);
        }
        Ok(())
    }
}

impl Upstream<'_> {
    fn is(&self, head: &Parts) -> bool {
        let mut hosts = head.headers.get_all(HOST).iter();
        let host = match (head.uri.authority(), hosts.next(), hosts.next()) {
            (Some(authority), None, None) => authority.as_str().as_bytes(),
            (None, Some(host), None) => host.as_bytes(),
            (Some(authority), Some(host), None) if authority.as_str() == host => host.as_bytes(),
            _ => return false,
        };
        let mut media = head.headers.get_all(CONTENT_TYPE).iter();
        let (first, second) = (media.next(), media.next());
        let path = head.uri.path_and_query().map(hyper::http::uri::PathAndQuery::as_str);
        host == self.authority.as_bytes()
            && head.method.as_str() == self.method
            && path == Some(&self.path)
            && first.map(hyper::header::HeaderValue::as_bytes)
                == self.content_type.as_deref().map(str::as_bytes)
            && second.is_none()
    }
}

fn header(head: &HeaderMap, name: &HeaderName) -> Result<Option<Vec<u8>>, Refused> {
    let mut values = head.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refused::Malformed);
    }
    byte_sequence::read(value.as_bytes()).map(Some).ok_or(Refused::Malformed)
}

pub(super) const RECEIPT: HeaderName = HeaderName::from_static("haetae-receipt");
pub(super) const LEAF: HeaderName = HeaderName::from_static("haetae-leaf");
/// Of docs/record.md.
const VERSION: u64 = 1;
const ALLOWING: [&str; 2] = ["ALLOW", "ALLOW_WITH_OBLIGATIONS"];
/// Of a log's checkpoint with a dozen signatures.
const NOTE_KEPT_MAX: usize = 2_048;
/// At most 4 kB each: 16 MB. Commits are hundreds a second at the very most, and a receipt is used within seconds.
const NOTES_MAX: usize = 4_096;
