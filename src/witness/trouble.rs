//! What keeps a log from being mirrored: a kind, in words that are for everybody, and the whole sentence, which is for the operator.
//!
//! *Invariant:* what the public is shown of a trouble is written in this file: no address, no error, no name of a file.

use std::io;

use hyper::StatusCode;
use tokio::task::JoinError;

use crate::remote::RemoteError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub kind: Kind,
    /// With addresses and errors: for the process's log and the console.
    pub said: String,
}

/// A trouble that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub trouble: Trouble,
    /// Unix seconds of the first round that came to nothing for something of this kind.
    pub since_s: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    NotReached,
    NotLetIn,
    NotServed,
    NotReadable,
    NotSigned,
    Contradicts,
    NoRoom,
    OverShare,
    Own,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::NotReached,
        Self::NotLetIn,
        Self::NotServed,
        Self::NotReadable,
        Self::NotSigned,
        Self::Contradicts,
        Self::NoRoom,
        Self::OverShare,
        Self::Own,
    ];

    /// Published.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotReached => "not_reached",
            Self::NotLetIn => "not_let_in",
            Self::NotServed => "not_served",
            Self::NotReadable => "not_readable",
            Self::NotSigned => "not_signed",
            Self::Contradicts => "contradicts",
            Self::NoRoom => "no_room",
            Self::OverShare => "over_share",
            Self::Own => "own",
        }
    }

    /// Whose fault it is they leave open where this witness cannot tell.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotReached => "the log is not reached from here",
            Self::NotLetIn => "the log does not let this witness read",
            Self::NotServed => "the log answers, but not with what was asked for",
            Self::NotReadable => "what the log serves is not what belongs there",
            Self::NotSigned => "what is published is not signed by a trusted key of the log",
            Self::Contradicts => {
                "what is shown does not fit, or lacks, what was shown or cosigned before: it is an alarm when it stays so"
            }
            Self::NoRoom => "this witness has no room for it",
            Self::OverShare => "its mirror takes more than its share of this witness's room",
            Self::Own => {
                "this witness itself is in trouble: its operator finds the cause in its log"
            }
        }
    }
}

impl Trouble {
    pub fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self { kind, said: said.into() }
    }
}

impl From<RemoteError> for Trouble {
    fn from(error: RemoteError) -> Self {
        let kind = match &error {
            RemoteError::Config(_) => Kind::Own,
            RemoteError::Unreachable { .. } => Kind::NotReached,
            RemoteError::Status { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::NotLetIn,
                _ => Kind::NotServed,
            },
            RemoteError::Content { .. } => Kind::NotReadable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<io::Error> for Trouble {
    fn from(cause: io::Error) -> Self {
        Self::new(Kind::Own, format!("the mirror's files: {cause}"))
    }
}

impl From<JoinError> for Trouble {
    fn from(cause: JoinError) -> Self {
        Self::new(Kind::Own, cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_error_is_its_kind() {
        let url = "http://10.1.2.3:8443/0/checkpoint".to_owned();
        let status = |status| RemoteError::Status { url: url.clone(), status };
        let unreachable =
            RemoteError::Unreachable { url: url.clone(), cause: "Connection refused".to_owned() };
        for (error, kind) in [
            (unreachable, Kind::NotReached),
            (status(StatusCode::UNAUTHORIZED), Kind::NotLetIn),
            (status(StatusCode::FORBIDDEN), Kind::NotLetIn),
            (status(StatusCode::NOT_FOUND), Kind::NotServed),
            (status(StatusCode::BAD_GATEWAY), Kind::NotServed),
            (RemoteError::Content { url: url.clone(), cause: "no text" }, Kind::NotReadable),
        ] {
            let trouble = Trouble::from(error);
            assert_eq!(trouble.kind, kind);
            assert!(trouble.said.contains("10.1.2.3:8443"), "{trouble:?}");
        }
        assert_eq!(Trouble::from(io::Error::other("/state/mirror")).kind, Kind::Own);
        let mut codes = Kind::ALL.map(Kind::code).to_vec();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
    }
}
