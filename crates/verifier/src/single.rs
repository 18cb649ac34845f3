//! One record and its proof (C2SP tlog-proof), without an export: is it in a log that the reviewer trusts?

use tlog::{Checkpoint, Hash, Note, Receipt, proof, receipt::ReceiptError};
use verdict::decision::Text;

use crate::{
    announced::Announced,
    export::Digest,
    finding::{Finding, Place, doubted},
    known,
    record::Record,
    report::Exit,
    trust::{Doubt, Trust, Unwitnessed},
};

/// A record that the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub id: String,
    pub kind: String,
    pub origin: String,
    pub index: u64,
    /// Size of the tree whose root was signed.
    pub size: u64,
    /// Witnesses of the trust file that cosigned.
    pub witnesses: usize,
}

/// Why the proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// Neither in the proof's `extra` line nor beside it.
    NoRecord,
    /// The record cannot be read: this key.
    Record(&'static str),
    Checkpoint(Doubt),
    /// So many known witnesses cosigned, which is not the quorum.
    Quorum(usize),
    /// The hashes do not lead from the record to the root.
    NotInTree,
    /// The record says that it stands elsewhere.
    Elsewhere,
    /// It is in the tree, and its bytes are not the canonical form of what they say: another reader may read something else.
    NotCanonical,
}

/// How a checkpoint that the reviewer kept stands to the proof's, which counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// Of the same tree.
    Same(Tree),
    /// Two trees of one size, both signed by the log's key.
    Fork(Tree),
    /// It is not what the log signed.
    Doubt(Tree, Doubt),
    /// Of another size or log: whether one tree grew out of the other no single record shows.
    Not { kept: Tree, proven: Tree },
}

/// A tree by its log and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub origin: String,
    pub size: u64,
}

/// Whether a file holds a proof and not an export.
#[must_use]
pub fn is_proof(start: &[u8]) -> bool {
    start.starts_with(b"c2sp.org/tlog-proof@")
}

/// The record that a proof carries, unchecked.
#[must_use]
pub fn leaf(text: &str) -> Option<Vec<u8>> {
    text.parse::<Receipt>().ok()?.extra
}

/// What is wrong with the bundle under which a proven record was decided, where the reviewer knows those that were approved.
#[must_use]
pub fn not_approved(leaf: &[u8], approved: &[Digest]) -> Option<Finding> {
    let record = Record::parse(leaf).ok()?;
    let id = Some(record.id_text().to_owned());
    let lane = u16::try_from(record.lane).unwrap_or(u16::MAX);
    let place = Place { lane, index: record.index, id };
    let fault = Announced::new(Some(approved.to_vec())).record(&record, &place, record.at)?;
    Some(Finding::Record(place, fault))
}

/// Holds a proof against the keys that the reviewer trusts; the record stands in its `extra` line.
pub fn check(text: &str, trust: &Trust) -> Result<Held, Unproven> {
    let receipt: Receipt = text.parse().map_err(|_| Unproven::Checkpoint(Doubt::Unreadable))?;
    let leaf = receipt.extra.as_deref().ok_or(Unproven::NoRecord)?;
    let record = Record::parse(leaf).map_err(Unproven::Record)?;
    let (checkpoint, witnesses) = signed(&receipt, trust, leaf)?;
    let hash = Hash::leaf(leaf);
    proof::verify_inclusion(
        &hash,
        receipt.index,
        checkpoint.size,
        &checkpoint.root,
        &receipt.proof,
    )
    .map_err(|_| Unproven::NotInTree)?;
    let lane = checkpoint.origin.rsplit('/').next().and_then(|lane| lane.parse().ok());
    if record.index != receipt.index || lane != Some(record.lane) {
        return Err(Unproven::Elsewhere);
    }
    if !record.canonical {
        return Err(Unproven::NotCanonical);
    }
    Ok(Held {
        id: record.id_text().to_owned(),
        kind: record.kind,
        origin: checkpoint.origin,
        index: receipt.index,
        size: checkpoint.size,
        witnesses,
    })
}

/// Holds checkpoints that the reviewer kept against the proof's. Nothing where that one does not count: then [`check`] says so.
#[must_use]
pub fn compare(text: &str, trust: &Trust, kept: &[String]) -> Vec<Compared> {
    let proven = text.parse::<Receipt>().ok().and_then(|receipt| {
        let stated = known::stated_in(&receipt.checkpoint)?;
        trust.read(&receipt.checkpoint, &stated.origin, &[]).ok()
    });
    let Some(proven) = proven else { return Vec::new() };
    kept.iter().map(|note| Compared::of(note, &proven, trust)).collect()
}

/// The checkpoint, if who signed it is trusted, and how many known witnesses cosigned.
fn signed(receipt: &Receipt, trust: &Trust, leaf: &[u8]) -> Result<(Checkpoint, usize), Unproven> {
    let doubt = |doubt| Err(Unproven::Checkpoint(doubt));
    let Ok(note) = receipt.checkpoint.parse::<Note>() else { return doubt(Doubt::Unreadable) };
    let Ok(stated) = note.text().parse::<Checkpoint>() else { return doubt(Doubt::Unreadable) };
    let checkpoint =
        trust.read(&receipt.checkpoint, &stated.origin, &[]).map_err(Unproven::Checkpoint)?;
    match trust.unwitnessed(&receipt.checkpoint) {
        None => {}
        Some(Unwitnessed::Few(cosigned)) => return Err(Unproven::Quorum(cosigned)),
        Some(Unwitnessed::Doubt(found)) => return doubt(found),
    }
    let Trust::Policy(policy) = trust else { return Ok((checkpoint, 0)) };
    match receipt.verify(&Hash::leaf(leaf), policy) {
        Ok(trusted) => Ok((checkpoint, trusted.witnessed.len())),
        Err(ReceiptError::Proof(_)) => Err(Unproven::NotInTree),
        Err(_) => doubt(Doubt::Unsigned),
    }
}

impl Held {
    #[must_use]
    pub fn text(&self) -> Text {
        let Self { id, index, size, witnesses, .. } = self;
        let (kind, origin) = (self.kind.escape_debug(), self.origin.escape_debug());
        Text {
            en: format!(
                "proven: record {id} (`{kind}`) is number {index} of `{origin}`, under the root that was signed at size {size}; {witnesses} known witnesses"
            ),
            ko: format!(
                "증명됨: 기록 {id}(`{kind}`)은(는) `{origin}`의 {index}번이며 크기 {size}에서 서명된 루트 아래에 있습니다. 아는 증인 {witnesses}곳"
            ),
        }
    }
}

impl Compared {
    fn of(note: &str, proven: &Checkpoint, trust: &Trust) -> Self {
        let Some(stated) = known::stated_in(note) else {
            return Self::Doubt(Tree { origin: "?".to_owned(), size: 0 }, Doubt::Unreadable);
        };
        let kept = Tree::of(&stated);
        if stated.origin != proven.origin {
            return Self::Not { kept, proven: Tree::of(proven) };
        }
        match trust.read(note, &proven.origin, &[]) {
            Err(doubt) => Self::Doubt(kept, doubt),
            Ok(_) if stated.size != proven.size => Self::Not { kept, proven: Tree::of(proven) },
            Ok(_) if stated.root == proven.root => Self::Same(kept),
            Ok(_) => Self::Fork(kept),
        }
    }

    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Same(_) => Exit::Whole,
            Self::Fork(_) | Self::Doubt(..) => Exit::Finding,
            Self::Not { .. } => Exit::Incomplete,
        }
    }

    #[must_use]
    pub fn text(&self) -> Text {
        let (Self::Same(kept) | Self::Fork(kept) | Self::Doubt(kept, _) | Self::Not { kept, .. }) =
            self;
        let Text { en: yours, ko: own } = kept.text();
        match self {
            Self::Same(_) => Text {
                en: format!("your checkpoint ({yours}) is of the same tree as the proof"),
                ko: format!("가지고 계신 체크포인트({own})는 증명과 같은 트리의 것입니다"),
            },
            Self::Fork(_) => Text {
                en: format!(
                    "FORKED: your checkpoint ({yours}) and the proof are of two different trees of one size, both signed by the log's key: keep both, together they show it"
                ),
                ko: format!(
                    "로그가 갈라짐: 가지고 계신 체크포인트({own})와 증명은 로그의 키로 서명된, 크기가 같고 내용이 다른 두 트리의 것입니다: 둘을 함께 보관하면 증거가 됩니다"
                ),
            },
            Self::Doubt(_, doubt) => {
                let Text { en, ko } = doubted(doubt);
                Text {
                    en: format!("your checkpoint ({yours}) does not count: {en}"),
                    ko: format!("가지고 계신 체크포인트({own})가 유효하지 않습니다: {ko}"),
                }
            }
            Self::Not { proven, .. } => {
                let Text { en, ko } = proven.text();
                Text {
                    en: format!(
                        "your checkpoint ({yours}) was not compared, as the proof is of another tree ({en}) and one record does not join the two: check a whole export (`haetae log export`) with `--checkpoint`"
                    ),
                    ko: format!(
                        "가지고 계신 체크포인트({own})는 비교하지 못했습니다. 증명은 다른 트리({ko})의 것이고 기록 하나로는 두 트리를 이을 수 없으므로 전체 내보내기(`haetae log export`)를 `--checkpoint`로 확인하십시오"
                    ),
                }
            }
        }
    }

    /// The published code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Same(_) => "checkpoint_same",
            Self::Fork(_) => "fork",
            Self::Doubt(..) => "checkpoint",
            Self::Not { .. } => "checkpoint_not_compared",
        }
    }
}

impl Tree {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self { origin: checkpoint.origin.clone(), size: checkpoint.size }
    }

    fn text(&self) -> Text {
        let (origin, size) = (self.origin.escape_debug(), self.size);
        Text { en: format!("`{origin}`, size {size}"), ko: format!("`{origin}`, 크기 {size}") }
    }
}

impl Unproven {
    #[must_use]
    pub fn text(&self) -> Text {
        let pair = |en: &str, ko: &str| Text { en: en.into(), ko: ko.into() };
        match self {
            Self::NoRecord => pair(
                "NOT proven: the proof does not carry its record: make one with `haetae log prove`",
                "증명되지 않음: 증명에 기록이 들어 있지 않습니다. `haetae log prove`로 만드십시오",
            ),
            Self::Record(key) => Text {
                en: format!("NOT proven: the record cannot be read: `{key}`"),
                ko: format!("증명되지 않음: 기록을 읽을 수 없습니다: `{key}`"),
            },
            Self::Checkpoint(doubt) => {
                let Text { en, ko } = doubted(doubt);
                Text {
                    en: format!("NOT proven: the checkpoint does not count: {en}"),
                    ko: format!("증명되지 않음: 체크포인트가 유효하지 않습니다: {ko}"),
                }
            }
            Self::Quorum(cosigned) => Text {
                en: format!(
                    "NOT proven: {cosigned} known witnesses cosigned, which is not the quorum"
                ),
                ko: format!(
                    "증명되지 않음: 아는 증인 {cosigned}곳이 함께 서명하여 정족수에 미치지 못합니다"
                ),
            },
            Self::NotInTree => pair(
                "NOT proven: the record is not in the signed tree: it or the proof was changed",
                "증명되지 않음: 기록이 서명된 트리에 없습니다. 기록이나 증명이 바뀌었습니다",
            ),
            Self::Elsewhere => pair(
                "NOT proven: the record says that it stands at another place of the log",
                "증명되지 않음: 기록에 적힌 위치가 다릅니다",
            ),
            Self::NotCanonical => pair(
                "NOT proven: the record is in the signed tree, but not in canonical form, so others may read something else in it",
                "증명되지 않음: 기록이 서명된 트리에 있으나 정규 형식이 아니므로 다르게 읽힐 수 있습니다",
            ),
        }
    }

    /// The published code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRecord => "no_record",
            Self::Record(_) => "record",
            Self::Checkpoint(_) => "checkpoint",
            Self::Quorum(_) => "quorum",
            Self::NotInTree => "not_in_tree",
            Self::Elsewhere => "elsewhere",
            Self::NotCanonical => "not_canonical",
        }
    }
}
