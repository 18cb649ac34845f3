//! Why a submission is not cosigned: the specification's statuses, and words.

use hyper::StatusCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    UnknownOrigin,
    NotSigned,
    Backwards,
    /// The size that is kept.
    Conflict(u64),
    /// An empty tree has one root.
    EmptyRoot,
    /// Another tree of the same size was cosigned, or mirrored.
    Fork,
    /// The proof does not show that the tree only grew.
    Proof,
    /// The state could not be written.
    Disk,
    /// No time is known.
    Clock,
    /// The state does not know what was cosigned.
    Lost,
    /// A state that is new, and what the log shows was not looked at yet.
    NotLooked,
}

impl Refusal {
    /// Whether the checkpoint is evidence.
    pub const fn is_about_the_tree(self) -> bool {
        matches!(self, Self::EmptyRoot | Self::Fork | Self::Proof)
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Backwards => StatusCode::BAD_REQUEST,
            Self::UnknownOrigin => StatusCode::NOT_FOUND,
            Self::NotSigned => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::EmptyRoot | Self::Fork | Self::Proof => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Disk | Self::Clock | Self::Lost | Self::NotLooked => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownOrigin => "unknown_origin",
            Self::NotSigned => "not_signed",
            Self::Backwards => "backwards",
            Self::Conflict(_) => "conflict",
            Self::EmptyRoot => "empty_root",
            Self::Fork => "fork",
            Self::Proof => "not_consistent",
            Self::Disk => "state_not_written",
            Self::Clock => "no_time",
            Self::Lost => "state_lost",
            Self::NotLooked => "not_looked",
        }
    }

    pub const fn message(self) -> &'static str {
        match self {
            Self::Malformed => {
                "the body is not an `old` line, a proof and a checkpoint (c2sp.org/tlog-witness)"
            }
            Self::UnknownOrigin => "this witness does not know the log: ask its operator to add it",
            Self::NotSigned => {
                "no trusted key of the log signed the checkpoint, or its signature is bad"
            }
            Self::Backwards => "the old size is larger than the checkpoint's",
            Self::Conflict(_) => "the old size is not the one that is kept",
            Self::EmptyRoot => "an empty tree has the root SHA-256 of nothing",
            Self::Fork => {
                "this witness has seen another tree of this size: the checkpoint is kept as evidence"
            }
            Self::Proof => "the proof does not show that the tree only grew",
            Self::Disk => "the witness cannot write its state, so it cosigns nothing",
            Self::Clock => "the witness's clock tells no time, so it cosigns nothing",
            Self::Lost => {
                "this witness has cosigned more of the log than it knows, so it cosigns nothing of it: its operator must bring the state back, or take a new key and a new, empty state"
            }
            Self::NotLooked => {
                "this witness is new to the log, and looks first at what the log shows, which it could not yet: try again"
            }
        }
    }
}
