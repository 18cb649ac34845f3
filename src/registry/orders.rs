//! Orders of authorities: what one says, as a text that a person reads and its authority signs, and who signed it.
//!
//! An authority is registered with its Ed25519 keys (C2SP vkeys). What it signs is a signed note over the [`text`] of an
//! order, or over the [`end_text`] of its end. The note is kept beside the order's version and checked again whenever it
//! is shown.
//!
//! *Invariant:* an order that was signed is ended only by what the same authority signed, and no order is rewritten.

pub mod store;

use std::fmt::Write as _;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tlog::{Note, VerifierKey};
use verdict::stamp::Stamp;

use super::RegistryError;
use super::entity::Span;

/// Why an order was not entered or not ended. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(
        "order `{id}` is on file and says something else: an order is not rewritten; end it (`haetae order end {id}`) and enter the new one under another id"
    )]
    OnFile { id: String },
    #[error("order `{id}` ended on {until} before it was entered: check its `until`")]
    Over { id: String, until: String },
    #[error("order `{id}` ends at {until} already: it can be ended earlier, not later")]
    EndsEarlier { id: String, until: String },
    #[error("`{at}` is past: an order ends now or later, what was decided under it stays")]
    PastEnd { at: String },
    #[error("an order is ended by two different people: name the other with `--with`")]
    OnePerson,
    #[error(
        "order `{id}` was signed by `{authority}`: only what it signs ends it (`haetae order end {id} --at .. --print` gives the text, `--signed FILE` brings the note)"
    )]
    EndNotSigned { id: String, authority: String },
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Why a note is no signature of this order by its authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error(
        "not a signed note (C2SP signed-note): the text, an empty line, then lines that begin with `\u{2014} `"
    )]
    NotANote,
    #[error(
        "what was signed is something else: line {line} of the note says `{signed}`, and the order `{wanted}`"
    )]
    OtherText { line: usize, signed: String, wanted: String },
    #[error(
        "authority `{0}` is not registered, so its signature cannot be checked: write its id and keys into a file and run `haetae registry authority add FILE`"
    )]
    NotRegistered(String),
    #[error(
        "authority `{0}` is registered for another time than now: see `haetae registry history {0}`"
    )]
    NotInForce(String),
    #[error(
        "no registered key of authority `{authority}` signed it: registered are {registered}, the note has signatures of {signers}"
    )]
    OtherKey { authority: String, registered: String, signers: String },
    #[error(
        "the signature of `{0}` does not fit the text: the text was changed after it was signed, or another key signed under that name"
    )]
    BadSignature(String),
}

/// A signature that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Id of the authority.
    pub authority: String,
    /// `name+id` of its key.
    pub key: String,
    /// The whole note.
    pub note: String,
}

/// What an order says: one line for each thing, in this order, so that equal orders have equal texts.
#[must_use]
pub fn text(order: &Json) -> String {
    let mut text = format!("{HEAD}\n");
    let mut line = |key: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}: {value}");
    };
    let value = |key: &str| order.get(key).and_then(Json::as_str);
    line("id", value("id").unwrap_or_default());
    line("authority", value("authority").unwrap_or_default());
    line("kind", value("kind").unwrap_or_default());
    line("legal basis", value("legal_basis").unwrap_or_default());
    let org = order.pointer("/match/org").and_then(Json::as_str);
    line("organisation", org.unwrap_or(ANY));
    for key in ["regimes", "categories", "to"] {
        line(key, &list(order, key));
    }
    line("effective from", value("effective_from").unwrap_or_default());
    line("until", value("until").unwrap_or("never"));
    text
}

/// What says that an order ends at this instant. It names the order by the digest of its text.
#[must_use]
pub fn end_text(order: &Json, at: &Stamp) -> String {
    let value = |key: &str| order.get(key).and_then(Json::as_str).unwrap_or_default();
    let (id, authority) = (value("id"), value("authority"));
    let digest = hex::encode(Sha256::digest(text(order)));
    format!("{END_HEAD}\nid: {id}\nauthority: {authority}\norder: sha256:{digest}\nends at: {at}\n")
}

/// Checks that this note is over this text and signed by a key that the authority has at `now` (unix seconds).
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn verify(
    note: &str,
    wanted: &str,
    name: &str,
    authority: Option<&Json>,
    now: i64,
) -> Result<Signed, SignatureError> {
    let parsed: Note = note.parse().map_err(|_| SignatureError::NotANote)?;
    if parsed.text() != wanted {
        return Err(difference(parsed.text(), wanted));
    }
    let authority = authority.ok_or_else(|| SignatureError::NotRegistered(name.to_owned()))?;
    if !Span::of(authority).holds(now) {
        return Err(SignatureError::NotInForce(name.to_owned()));
    }
    let keys = keys(authority);
    let verified = match parsed.verify(&keys) {
        Ok(verified) => verified,
        Err(tlog::note::NoteError::BadSignature(by)) => {
            return Err(SignatureError::BadSignature(by));
        }
        Err(_) => {
            let signers =
                parsed.signatures().iter().map(|one| format!("`{}+{:08x}`", one.name, one.id));
            return Err(SignatureError::OtherKey {
                authority: name.to_owned(),
                registered: joined(keys.iter().map(|key| format!("`{}`", short(key)))),
                signers: joined(signers),
            });
        }
    };
    let key = verified.first().map(|one| short(one.key)).unwrap_or_default();
    Ok(Signed { authority: name.to_owned(), key, note: note.to_owned() })
}

/// The registered keys of an authority's document.
fn keys(authority: &Json) -> Vec<VerifierKey> {
    let keys = authority.get("keys").and_then(Json::as_array).into_iter().flatten();
    keys.filter_map(|key| key.as_str()?.parse().ok()).collect()
}

fn short(key: &VerifierKey) -> String {
    format!("{}+{:08x}", key.name(), key.id())
}

fn difference(signed: &str, wanted: &str) -> SignatureError {
    let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<String>>();
    let (signed, wanted) = (lines(signed), lines(wanted));
    let at = signed.iter().zip(&wanted).take_while(|(one, other)| one == other).count();
    let shown = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
    SignatureError::OtherText { line: at + 1, signed: shown(&signed), wanted: shown(&wanted) }
}

/// A list of the order's match: sorted, `*` when it does not narrow.
fn list(order: &Json, key: &str) -> String {
    let items = order.pointer(&format!("/match/{key}")).and_then(Json::as_array);
    let mut items: Vec<&str> = items.into_iter().flatten().filter_map(Json::as_str).collect();
    items.sort_unstable();
    items.dedup();
    if items.is_empty() || items.contains(&ANY) { ANY.to_owned() } else { items.join(", ") }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// First line: what is signed here can be taken for nothing else.
const HEAD: &str = "haetae order v1";
const END_HEAD: &str = "haetae end of order v1";
const ANY: &str = "*";
