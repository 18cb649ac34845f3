//! What an approver signs: one text that says exactly what is to happen, in place of what, and why. A C2SP signed note.
//!
//! The text names the version of the facts since which the bundle that is replaced has been in force, so a signature
//! serves once: after any other act it is for something that is past.

use std::fmt::Write as _;
use std::sync::Arc;

use tlog::key::{Kind, Signer as _};
use tlog::{Note, SigningKey};

use super::{Enacted, How, MandateError};

/// An act as it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Which deployment, so that a signature for a test is none for production.
    pub deployment: Arc<str>,
    pub how: How,
    /// Digests: of the files, the rules, the access sheets.
    pub bundle: Arc<str>,
    pub rulebook: Arc<str>,
    pub access: Arc<str>,
    /// What is in force and since which version; `None` and 0 while it is the directory of the configuration.
    pub replaces: Option<Arc<str>>,
    pub since: i64,
    /// Of a break-glass: from when until when, unix seconds, and what comes then.
    pub span: Option<(i64, i64)>,
    pub falls_back_to: Option<Arc<str>>,
    /// One line.
    pub reason: String,
}

impl Act {
    /// The act that a row of the history states, where `replaces` had been in force since `since`.
    #[must_use]
    pub fn of(row: &Enacted, deployment: &Arc<str>, since: i64) -> Self {
        Self {
            deployment: Arc::clone(deployment),
            how: row.how,
            bundle: Arc::clone(&row.bundle),
            rulebook: Arc::clone(&row.rulebook),
            access: Arc::clone(&row.access),
            replaces: row.previous.clone(),
            since,
            span: row.until_s.map(|until| (row.at_s, until)),
            falls_back_to: row.falls_back_to.clone(),
            reason: row.reason.clone(),
        }
    }

    /// What is signed: a line for each thing that is said.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} {value}");
        };
        line("deployment", &self.deployment);
        line("act", self.how.name());
        line("bundle", &self.bundle);
        line("rulebook", &self.rulebook);
        line("access", &self.access);
        line("replaces", self.replaces.as_deref().unwrap_or("none"));
        line("since", &self.since.to_string());
        if let Some((from, until)) = self.span {
            line("from", &from.to_string());
            line("until", &until.to_string());
        }
        if let Some(then) = &self.falls_back_to {
            line("then", then);
        }
        line("reason", &self.reason);
        text
    }

    /// The act with one person's signature under it.
    ///
    /// # Errors
    /// When the reason cannot stand in a signed text, or the key is of another kind.
    pub fn sign(&self, key: &SigningKey) -> Result<String, MandateError> {
        check_reason(&self.reason)?;
        Note::sign(self.text(), key)
            .map(|note| note.to_string())
            .map_err(|cause| MandateError::Refused(cause.to_string()))
    }
}

/// # Errors
/// When it is empty, long, or could be read as another line of what is signed.
pub fn check_reason(reason: &str) -> Result<(), MandateError> {
    let wrong = |what: &str| Err(MandateError::Refused(format!("the reason {what}")));
    if reason.trim().is_empty() {
        return wrong("is empty: say why, for those who read the log");
    }
    if reason.chars().any(char::is_control) {
        return wrong("has a line break or another control character: write one line");
    }
    if reason.len() > REASON_BYTES_MAX {
        return wrong("is longer than 500 bytes: say it in one sentence");
    }
    Ok(())
}

/// A new key of an approver, as text: the private one for its file alone, and the public one to register.
///
/// # Errors
/// When the name cannot name a key.
pub fn new_key(name: &str, seed: &[u8; 32]) -> Result<(String, String), MandateError> {
    let key = SigningKey::from_seed(name, Kind::Ed25519, seed);
    let key = key.map_err(|cause| MandateError::Refused(format!("`{name}`: {cause}")))?;
    Ok((key.to_skey(), key.verifier().to_string()))
}

/// Names under which notes are signed, for the record; whether the signatures hold is for the chain to say.
#[must_use]
pub fn signer_names(notes: &[String]) -> Vec<String> {
    let notes = notes.iter().filter_map(|note| note.parse::<Note>().ok());
    notes
        .flat_map(|note| note.signatures().iter().map(|one| one.name.clone()).collect::<Vec<_>>())
        .collect()
}

/// The first line of what is signed: what kind of text it is, so that no other signed text can be taken for one.
const HEAD: &str = "haetae policy act v1";
/// A leaf of the log and a line of a list must hold it.
const REASON_BYTES_MAX: usize = 500;
