//! Whose signature counts: keys that the reviewer brought, or, for want of them, those that the file states of itself.

use tlog::{Checkpoint, Note, Policy, VerifierKey, note::NoteError, policy::TrustError};

/// What the reviewer trusts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// A trust file (C2SP tlog-policy): logs, witnesses, quorum.
    Policy(Policy),
    /// The keys of the lanes, one each.
    Keys(Vec<VerifierKey>),
    /// Nobody yet: the keys in the file. Proves only that the file agrees with itself.
    File,
}

/// Why a checkpoint does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// No trusted key is named like this lane's origin.
    Unknown,
    /// Not a signed checkpoint.
    Unreadable,
    /// The note's origin is another lane's.
    Origin(String),
    /// The note's size is not the line's.
    Size(u64),
    /// Not signed by the trusted key.
    Unsigned,
    /// A trusted key's signature does not fit.
    BadSignature,
    /// That of a known witness does not fit.
    BadCosignature,
}

/// Why the witnesses do not vouch for a checkpoint that its log signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unwitnessed {
    /// So many known ones cosigned, which is not the quorum.
    Few(usize),
    Doubt(Doubt),
}

impl Trust {
    /// The checkpoint of a note, if a trusted key of that name signed it. `stated` are the file's own keys.
    pub(crate) fn read(
        &self,
        note: &str,
        origin: &str,
        stated: &[VerifierKey],
    ) -> Result<Checkpoint, Doubt> {
        let note: Note = note.parse().map_err(|_| Doubt::Unreadable)?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|_| Doubt::Unreadable)?;
        if checkpoint.origin != origin {
            return Err(Doubt::Origin(checkpoint.origin));
        }
        let keys: Vec<&VerifierKey> =
            self.keys(stated).into_iter().filter(|key| key.name() == origin).collect();
        if keys.is_empty() {
            return Err(Doubt::Unknown);
        }
        match note.verify(keys) {
            Ok(_) => Ok(checkpoint),
            Err(NoteError::BadSignature(_)) => Err(Doubt::BadSignature),
            Err(_) => Err(Doubt::Unsigned),
        }
    }

    /// What is wrong with the cosignatures of a checkpoint that counts otherwise. Whatever cannot be told is not enough.
    pub(crate) fn unwitnessed(&self, note: &str) -> Option<Unwitnessed> {
        let Self::Policy(policy) = self else { return None };
        match policy.check(note) {
            Ok(_) => None,
            Err(TrustError::Quorum { cosigned }) => Some(Unwitnessed::Few(cosigned)),
            Err(TrustError::Note(NoteError::BadSignature(_))) => {
                Some(Unwitnessed::Doubt(Doubt::BadCosignature))
            }
            Err(_) => Some(Unwitnessed::Few(0)),
        }
    }

    /// The keys of lanes that the reviewer brought.
    pub(crate) fn brought(&self) -> Vec<&VerifierKey> {
        self.keys(&[])
    }

    fn keys<'t>(&'t self, stated: &'t [VerifierKey]) -> Vec<&'t VerifierKey> {
        match self {
            Self::Policy(policy) => policy.logs.iter().map(|log| &log.key).collect(),
            Self::Keys(keys) => keys.iter().collect(),
            Self::File => stated.iter().collect(),
        }
    }
}
