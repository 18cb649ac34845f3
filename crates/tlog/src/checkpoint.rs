//! Checkpoints (C2SP tlog-checkpoint): which log, how large, which root.

use alloc::{string::String, vec::Vec};
use core::{fmt, fmt::Write as _, str::FromStr};

use crate::{
    hash::Hash,
    key::{SignError, Signer},
    note::Note,
};

/// The text that a log signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, one line.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    pub root: Hash,
    /// Further lines; their meaning is the log's own.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    #[must_use]
    pub const fn new(origin: String, size: u64, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// The text as it is signed, and the log's signature. Refuses a text that would be read back as another one.
    pub fn sign<S: Signer + ?Sized>(&self, signer: &S) -> Result<Note, SignError> {
        let mut text = String::with_capacity(self.origin.len() + 80);
        write!(text, "{self}").map_err(|_| SignError::Text)?;
        if text.parse().as_ref() != Ok(self) {
            return Err(SignError::Text);
        }
        Note::sign(text, signer)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = NotACheckpoint;

    /// Reads a note's text, the signatures not included.
    fn from_str(text: &str) -> Result<Self, NotACheckpoint> {
        let mut lines = text.strip_suffix('\n').ok_or(NotACheckpoint)?.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(NotACheckpoint);
        let origin = line()?.into();
        let size = decimal(line()?).ok_or(NotACheckpoint)?;
        let root = line()?.parse().map_err(|_| NotACheckpoint)?;
        let extensions: Vec<String> = lines.map(Into::into).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(NotACheckpoint);
        }
        Ok(Self { origin, size, root, extensions })
    }
}

/// A number as C2SP texts write it: ASCII digits, no sign, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok()).flatten()
}

crate::one_error!(
    NotACheckpoint,
    "not a checkpoint: it wants an origin, a size and a root, a line each"
);
