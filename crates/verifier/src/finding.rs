//! What can be wrong with an export, where, and how it is said in English and Korean.

mod words;

pub(crate) use words::doubted;

use serde_json::{Value, json};
use verdict::decision::{Outcome, Text};

use crate::{export::Digest, trust::Doubt};

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    File(FileFault),
    Tree(TreeFault),
    Record(Place, RecordFault),
}

/// Where a record stands. The id is what the record says of itself, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub lane: u16,
    pub index: u64,
    pub id: Option<String>,
}

/// The file as a whole; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFault {
    /// Nothing after this line, and it is not `end`.
    Cut {
        line: u64,
    },
    /// A line after `end`.
    After {
        line: u64,
    },
    /// The header does not say when the file was made.
    Created,
    /// The header says that it was made so long before its newest record.
    CreatedEarly {
        seconds: u64,
    },
    NotALine {
        line: u64,
    },
    Order {
        line: u64,
    },
    /// A lane that the header does not name, or names twice.
    Lane {
        line: u64,
        lane: u16,
    },
    /// The header names a lane by an origin that does not end in its number.
    Origin {
        lane: u16,
        origin: String,
    },
    /// A row that does not follow its leaf.
    LooseRow {
        line: u64,
    },
    Count {
        what: &'static str,
        stated: u64,
        found: u64,
    },
    Sha256,
    /// The bytes of a text do not have its digest.
    Text {
        line: u64,
        digest: Digest,
    },
    /// A decision names it under another kind than the one it is kept under.
    TextKind {
        digest: Digest,
    },
    /// No exported decision names it.
    SpareText {
        digest: Digest,
    },
}

/// A lane's tree: checkpoints, tiles, gaps, roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeFault {
    Checkpoint {
        lane: u16,
        size: u64,
        doubt: Doubt,
    },
    /// The header's first index lies behind its last one.
    Range {
        lane: u16,
        from: u64,
        to: u64,
    },
    /// The last checkpoint does not cover the last leaf.
    Uncovered {
        lane: u16,
        to: u64,
        last: u64,
    },
    Quorum {
        lane: u16,
        size: u64,
        cosigned: usize,
    },
    /// The subtrees before the first leaf do not fit its index.
    Left {
        lane: u16,
    },
    /// Entry `at` of a tile is not the root of the tile below it.
    Tile {
        lane: u16,
        level: u8,
        n: u64,
        at: usize,
    },
    TileMissing {
        lane: u16,
        level: u8,
        n: u64,
    },
    /// Leaves `from..to` are not there.
    Missing {
        lane: u16,
        from: u64,
        to: u64,
    },
    /// Nor are these, by a checkpoint that the reviewer kept alone: the file can have been cut, or made before it.
    Behind {
        lane: u16,
        from: u64,
        to: u64,
    },
    /// The root at size `to` is another one; it was right (or is not known) at size `from`.
    Root {
        lane: u16,
        from: u64,
        to: u64,
    },
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFault {
    /// The bytes do not have the hash that was kept of them.
    Edited,
    /// It says that it belongs elsewhere.
    Moved {
        lane: u64,
        index: u64,
    },
    /// It stands after a record that follows it.
    OutOfOrder,
    /// There is a record in this place already.
    Repeated,
    /// Not between the first and the last index that the header names.
    Outside,
    /// The key that is missing or wrong.
    Unreadable(&'static str),
    NotCanonical,
    Time,
    Epoch,
    LaneOpen(OpenFault),
    FactVersion {
        stated: u64,
        in_force: u64,
    },
    /// Another record has the same id.
    SameId {
        lane: u16,
        index: u64,
    },
    RowDiffers(String),
    RowMissing,
    SpareRow,
    /// It allows and keeps no access evidence, after a record of its lane that does.
    NoAccess,
    /// Judged again it comes out otherwise.
    Judged(Judged),
    /// The log never said that the bundle it was decided under came into force.
    BundleUnknown {
        digest: Digest,
    },
    /// The bundle it was decided under is none of those that the reviewer knows as approved.
    BundleNotApproved {
        digest: Digest,
    },
    /// A `started` or `ended` and its decision contradict each other.
    Follows(Contradiction),
    /// The head that a heartbeat keeps of another lane is not that lane's root.
    Head {
        lane: u16,
        size: u64,
    },
    /// A heartbeat saw another lane longer than what is shown of it.
    Shorter {
        lane: u16,
        size: u64,
        to: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFault {
    /// A lane or an epoch does not begin with it.
    Missing,
    /// It stands in the middle of an epoch.
    Spare,
    Origin,
    Size,
    Root,
}

/// What of a decision does not follow from its facts and rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Detail,
    Outcome {
        stated: Option<Outcome>,
        judged: Outcome,
    },
    Reason,
    Rule,
    /// The site is not one of the permitted ones.
    Site,
    /// A refusal with a site, or an allow without one.
    SiteShape,
    /// The rules want a witnessed receipt and the record does not, or the other way round.
    Grade,
    /// The access rows that are kept with it are about another service.
    Access,
    /// The access rows that are kept with it are about another operation.
    AccessOperation,
    /// A dated fact that it was judged on changes at this instant (Unix seconds), and it was recorded then or later.
    RanOut {
        until: i64,
    },
    /// The bundle or the facts cannot be judged with: their own words.
    Unusable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contradiction {
    /// The decision refused.
    Refused,
    /// Not later than the decision.
    Early,
    /// The decision has one already.
    Twice,
    /// It says that the answer was cut by a record that is no refusal of that decision judged again.
    NotItsCut,
    /// The site showed another TLS identity than the one that the decision asks for.
    Identity,
    /// The decision is nowhere, though the file shows all that was written before.
    Nowhere,
}

impl Finding {
    /// The sentence for people.
    #[must_use]
    pub fn text(&self) -> Text {
        words::of(self)
    }

    /// The object for machines: `code`, the place as far as there is one, and the sentences.
    #[must_use]
    pub fn json(&self) -> Value {
        let Text { en, ko } = self.text();
        let (lane, index, id) = match self {
            Self::Record(place, _) => (Some(place.lane), Some(place.index), place.id.as_deref()),
            Self::Tree(fault) => (Some(fault.lane()), None, None),
            Self::File(_) => (None, None, None),
        };
        let mut object = json!({ "code": self.code(), "en": en, "ko": ko });
        for (key, value) in [("lane", json!(lane)), ("index", json!(index)), ("id", json!(id))] {
            if let Some(object) = object.as_object_mut().filter(|_| !value.is_null()) {
                object.insert(key.into(), value);
            }
        }
        object
    }

    /// A stable name for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(fault) => fault.code(),
            Self::Tree(fault) => fault.code(),
            Self::Record(_, fault) => fault.code(),
        }
    }
}

impl FileFault {
    const fn code(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "file_cut",
            Self::After { .. } => "file_after_end",
            Self::Created | Self::CreatedEarly { .. } => "file_created",
            Self::NotALine { .. } => "file_line",
            Self::Order { .. } => "file_order",
            Self::Lane { .. } | Self::Origin { .. } => "file_lane",
            Self::LooseRow { .. } => "file_loose_row",
            Self::Count { .. } => "file_count",
            Self::Sha256 => "file_sha256",
            Self::Text { .. } => "text_digest",
            Self::TextKind { .. } => "text_kind",
            Self::SpareText { .. } => "text_spare",
        }
    }
}

impl TreeFault {
    const fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint { .. } => "checkpoint",
            Self::Range { .. } => "lane_range",
            Self::Uncovered { .. } => "checkpoint_uncovered",
            Self::Quorum { .. } => "checkpoint_quorum",
            Self::Left { .. } => "tree_left",
            Self::Tile { .. } => "tile",
            Self::TileMissing { .. } => "tile_missing",
            Self::Missing { .. } | Self::Behind { .. } => "records_missing",
            Self::Root { .. } => "tree_root",
        }
    }

    const fn lane(&self) -> u16 {
        match self {
            Self::Checkpoint { lane, .. }
            | Self::Range { lane, .. }
            | Self::Uncovered { lane, .. }
            | Self::Quorum { lane, .. }
            | Self::Left { lane }
            | Self::Tile { lane, .. }
            | Self::TileMissing { lane, .. }
            | Self::Missing { lane, .. }
            | Self::Behind { lane, .. }
            | Self::Root { lane, .. } => *lane,
        }
    }
}

impl RecordFault {
    const fn code(&self) -> &'static str {
        match self {
            Self::Edited => "record_edited",
            Self::Moved { .. } => "record_moved",
            Self::OutOfOrder => "record_order",
            Self::Repeated => "record_repeated",
            Self::Outside => "record_outside",
            Self::Unreadable(_) => "record_unreadable",
            Self::NotCanonical => "record_not_canonical",
            Self::Time => "record_time",
            Self::Epoch => "record_epoch",
            Self::LaneOpen(_) => "record_lane_open",
            Self::FactVersion { .. } => "record_fact_version",
            Self::SameId { .. } => "record_same_id",
            Self::RowDiffers(_) => "row_differs",
            Self::RowMissing => "row_missing",
            Self::SpareRow => "row_spare",
            Self::NoAccess => "record_no_access",
            Self::Judged(_) => "judged",
            Self::BundleUnknown { .. } => "bundle_unknown",
            Self::BundleNotApproved { .. } => "bundle_not_approved",
            Self::Follows(_) => "follows",
            Self::Head { .. } => "heartbeat_root",
            Self::Shorter { .. } => "lane_shorter",
        }
    }
}
