//! What is said in the end: counts, findings, and what could not be checked.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use verdict::decision::Text;

use crate::{export::Digest, finding::Finding};

/// The result of one file.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub counts: Counts,
    /// In the order of the file, at most [`Report::FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings past that.
    pub more: u64,
    pub open: Vec<Open>,
    /// What the file holds of each lane.
    pub shown: Vec<Shown>,
    /// Kinds that this program does not know, by their first letters; a few of them.
    kinds: BTreeSet<String>,
}

/// The records `from..to` of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub lane: u16,
    pub origin: String,
    pub from: u64,
    pub to: u64,
    /// Whether a trusted checkpoint ends it; by the header alone otherwise.
    pub signed: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub bytes: u64,
    pub lines: u64,
    pub lanes: u64,
    pub records: u64,
    /// Records of kinds that this program does not know; they are in the tree all the same.
    pub unknown_kinds: u64,
    pub rows: u64,
    pub texts: u64,
    /// Texts that decisions name and that are not there.
    pub texts_missing: u64,
    pub tiles: u64,
    /// Checkpoints whose signature and root were right.
    pub checkpoints: u64,
    pub decisions: u64,
    /// Decisions that came out the same again.
    pub judged: u64,
    /// Decisions whose facts or rules are no longer kept.
    pub not_judgeable: u64,
    /// Decisions that were not judged again because the file asks for too much, or enough is wrong.
    pub unjudged: u64,
    /// Refusals of the second engine, which is no part of this program.
    pub second_engine: u64,
    /// Allows without access evidence, with none before them in their lane: accepted, as records of before have none.
    pub without_access: u64,
    /// Allows without an end in this file.
    pub without_end: u64,
}

/// A check that could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// No key was given: those in the file itself were used.
    OwnKeys,
    /// No trusted key for this lane.
    Untrusted {
        lane: u16,
        origin: String,
    },
    NotJudgeable(u64),
    /// So many decisions were not judged again: the file asks for too much, or enough is wrong.
    Unjudged(u64),
    /// So many decisions were judged for an instant well after their record: by a clock that had jumped ahead, or by choice.
    Ahead(u64),
    /// Bundles that decided and that no record shown says came into force, where not all that was written is shown.
    Bundles(Vec<Digest>),
    /// So many texts that decisions name are not there, whether one judges by them or not.
    TextsMissing(u64),
    /// The first record shown of this lane is not its first: what came before, loss and rollback included, may be anything.
    NotFromStart {
        lane: u16,
        from: u64,
    },
    /// A heartbeat names this lane; the file shows nothing of it.
    LaneNotShown {
        lane: u16,
    },
    /// A key or a kept checkpoint is of this lane; the file shows nothing of it that the lane signed.
    NotShown {
        origin: String,
    },
    /// A kept checkpoint lies before the first record shown.
    NotCompared {
        lane: u16,
        size: u64,
    },
}

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Whole = 0,
    Finding = 1,
    Unreadable = 2,
    Incomplete = 3,
}

impl Report {
    /// A file that is wrong throughout is described well enough by its first thousand faults.
    pub const FINDINGS_MAX: usize = 1000;
    /// A deployment has 16 lanes at a time; more are of former generations, and `--json` has all.
    const LANES_SAID_MAX: usize = 64;

    pub(crate) fn find(&mut self, finding: Finding) {
        if self.findings.len() < Self::FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Whether further findings are only counted.
    pub(crate) const fn is_full(&self) -> bool {
        self.findings.len() >= Self::FINDINGS_MAX
    }

    /// A record of a kind that this program does not know.
    pub(crate) fn unknown(&mut self, kind: &str) {
        self.counts.unknown_kinds += 1;
        if self.kinds.len() <= NAMES_SAID {
            self.kinds.insert(kind.chars().take(KIND_CHARS_SAID).collect());
        }
    }

    /// Of records that were held only to what every record has; `None` when there are none.
    #[must_use]
    pub fn unknown_kinds(&self) -> Option<Text> {
        let count = self.counts.unknown_kinds;
        let names = listed(self.kinds.iter().map(|kind| kind.escape_debug()), self.kinds.len());
        (count > 0).then(|| Text {
            en: format!(
                "{count} records are of kinds that this program does not know and holds only to what every record has: {names}"
            ),
            ko: format!(
                "기록 {count}건은 이 프로그램이 모르는 종류여서 모든 기록에 공통된 것만 확인했습니다: {names}"
            ),
        })
    }

    /// Once is enough.
    pub(crate) fn open(&mut self, open: Open) {
        if !self.open.contains(&open) {
            self.open.push(open);
        }
    }

    /// One more decision that was judged for an instant after its record.
    pub(crate) fn ahead(&mut self) {
        let known = self.open.iter_mut().find_map(|open| match open {
            Open::Ahead(count) => Some(count),
            _ => None,
        });
        match known {
            Some(count) => *count += 1,
            None => self.open.push(Open::Ahead(1)),
        }
    }

    #[must_use]
    pub fn exit(&self) -> Exit {
        match (self.findings.is_empty(), self.open.is_empty()) {
            (false, _) => Exit::Finding,
            (true, false) => Exit::Incomplete,
            (true, true) => Exit::Whole,
        }
    }

    #[must_use]
    pub fn json(&self) -> Value {
        let counts = &self.counts;
        let open: Vec<Value> = self.open.iter().map(Open::json).collect();
        json!({
            "exit": self.exit() as u8,
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
            "more_findings": self.more,
            "not_checked": open,
            "unknown_kinds": self.kinds.iter().take(NAMES_SAID).collect::<Vec<_>>(),
            "lanes": self.shown.iter().map(Shown::json).collect::<Vec<_>>(),
            "counts": {
                "bytes": counts.bytes, "lines": counts.lines, "lanes": counts.lanes,
                "records": counts.records, "unknown_kinds": counts.unknown_kinds, "unjudged": counts.unjudged,
                "rows": counts.rows, "texts": counts.texts, "texts_missing": counts.texts_missing, "tiles": counts.tiles,
                "checkpoints": counts.checkpoints, "decisions": counts.decisions,
                "judged": counts.judged, "not_judgeable": counts.not_judgeable,
                "second_engine": counts.second_engine, "without_end": counts.without_end,
                "without_access": counts.without_access,
            },
        })
    }

    /// Which records of which lanes all this is about.
    #[must_use]
    pub fn ranges(&self) -> Text {
        let said = self.shown.iter().take(Self::LANES_SAID_MAX).map(Shown::text);
        let (en, ko): (Vec<_>, Vec<_>) = said.map(|text| (text.en, text.ko)).unzip();
        let (en, ko) = (en.join("; "), ko.join("; "));
        match self.shown.len().saturating_sub(Self::LANES_SAID_MAX) {
            0 => Text { en: format!("shown: {en}"), ko: format!("제시된 범위: {ko}") },
            more => Text {
                en: format!("shown: {en}; and {more} more lanes"),
                ko: format!("제시된 범위: {ko}; 그 밖의 레인 {more}개"),
            },
        }
    }

    /// The last line.
    #[must_use]
    pub fn verdict(&self) -> Text {
        let found = self.findings.len() as u64 + self.more;
        match self.exit() {
            Exit::Whole => pair(
                "whole: nothing was changed, dropped or reordered, and every decision follows from its record",
                "온전함: 바뀌거나 빠지거나 순서가 달라진 것이 없으며 모든 결정이 그 기록에서 그대로 도출됩니다",
            ),
            Exit::Incomplete => pair(
                "nothing wrong was found, but not everything could be checked",
                "잘못된 점은 없으나 모두 확인하지는 못했습니다",
            ),
            _ => Text {
                en: format!("NOT whole: findings: {found}"),
                ko: format!("온전하지 않음: 발견 {found}건"),
            },
        }
    }
}

impl Counts {
    /// Of allows that nothing says more about; `None` when there are none.
    #[must_use]
    pub fn unproved(&self) -> Option<Text> {
        let count = self.without_access;
        (count > 0).then(|| Text {
            en: format!(
                "{count} allowing records carry no access evidence, and no record shown before them in their lane does: accepted, as those written before it was recorded have none"
            ),
            ko: format!(
                "허용 기록 {count}건에는 접근 권한 근거가 없으며 같은 레인에서 그 앞에 제시된 기록에도 없습니다: 근거를 기록하기 전에 작성된 기록에는 없으므로 받아들입니다"
            ),
        })
    }

    /// What was checked, in one line.
    #[must_use]
    pub fn text(&self) -> Text {
        let Self { lanes, records, checkpoints, tiles, texts, rows, decisions, judged, .. } = self;
        let (purged, second, open) = (self.not_judgeable, self.second_engine, self.without_end);
        Text {
            en: format!(
                "{lanes} lanes, {records} records, {checkpoints} checkpoints, {tiles} tiles, {texts} texts, {rows} rows; \
                 {decisions} decisions: {judged} judged again, {purged} not re-judgeable, {second} by the second engine; \
                 {open} allows without an end"
            ),
            ko: format!(
                "레인 {lanes}개, 기록 {records}건, 체크포인트 {checkpoints}개, 타일 {tiles}개, 텍스트 {texts}개, 행 {rows}개; \
                 결정 {decisions}건: 재판정 {judged}건, 재판정 불가 {purged}건, 제2 엔진 {second}건; 종료 기록이 없는 허용 {open}건"
            ),
        }
    }
}

impl Shown {
    fn text(&self) -> Text {
        let Self { lane, from, to, .. } = self;
        match to.checked_sub(1).filter(|last| last >= from) {
            Some(last) => Text {
                en: format!("lane {lane} from index {from} to {last}"),
                ko: format!("레인 {lane} 인덱스 {from}부터 {last}까지"),
            },
            None => Text {
                en: format!("no record of lane {lane}"),
                ko: format!("레인 {lane} 기록 없음"),
            },
        }
    }

    fn json(&self) -> Value {
        let Self { lane, origin, from, to, signed } = self;
        json!({ "lane": lane, "origin": origin, "from": from, "to": to, "signed": signed })
    }
}

impl Open {
    #[must_use]
    pub fn text(&self) -> Text {
        match self {
            Self::OwnKeys => pair(
                "the keys are from the export itself, so this proves only that the file agrees with itself: give `--key` or `--trust`",
                "키를 내보내기 파일 자체에서 가져왔으므로 파일이 스스로 모순되지 않는다는 것만 증명합니다: `--key`나 `--trust`를 주십시오",
            ),
            Self::Untrusted { lane, origin } => {
                let origin = origin.escape_debug();
                Text {
                    en: format!(
                        "lane {lane}: no trusted key is named `{origin}`, so its checkpoints were not checked"
                    ),
                    ko: format!(
                        "레인 {lane}: 이름이 `{origin}`인 신뢰하는 키가 없어 체크포인트를 확인하지 못했습니다"
                    ),
                }
            }
            Self::NotFromStart { lane, from } => Text {
                en: format!(
                    "lane {lane}: the file begins at index {from}, so what came before, a record of a loss included, was not checked"
                ),
                ko: format!(
                    "레인 {lane}: 파일이 인덱스 {from}에서 시작하므로 손실을 알리는 기록을 포함해 그 앞의 기록은 확인하지 못했습니다"
                ),
            },
            Self::LaneNotShown { lane } => Text {
                en: format!(
                    "lane {lane}: a heartbeat names it and the file shows nothing of it, so its records were not checked"
                ),
                ko: format!(
                    "레인 {lane}: 하트비트에는 나오나 파일에는 없으므로 그 기록을 확인하지 못했습니다"
                ),
            },
            Self::NotShown { origin } => {
                let origin = origin.escape_debug();
                Text {
                    en: format!(
                        "`{origin}`: you know this lane and the file shows nothing of it that the lane signed, so its records were not checked"
                    ),
                    ko: format!(
                        "`{origin}`: 알고 있는 레인이지만 그 레인이 서명한 것이 파일에 없으므로 그 기록을 확인하지 못했습니다"
                    ),
                }
            }
            Self::NotCompared { lane, size } => Text {
                en: format!(
                    "lane {lane}: your checkpoint of size {size} lies before the first record shown, so it was not compared"
                ),
                ko: format!(
                    "레인 {lane}: 가지고 계신 크기 {size}의 체크포인트는 파일의 첫 기록보다 앞서 비교하지 못했습니다"
                ),
            },
            Self::NotJudgeable(count) => Text {
                en: format!(
                    "{count} decisions are not re-judgeable: their facts or rules are no longer kept"
                ),
                ko: format!(
                    "결정 {count}건은 사실이나 규칙이 더는 보관되지 않아 다시 판정할 수 없습니다"
                ),
            },
            Self::Unjudged(count) => unjudged(*count),
            Self::Ahead(count) => ahead(*count),
            Self::Bundles(digests) => undeclared(digests),
            Self::TextsMissing(count) => Text {
                en: format!("{count} texts that decisions name are not in the file"),
                ko: format!("결정이 가리키는 텍스트 {count}개가 파일에 없습니다"),
            },
        }
    }

    fn json(&self) -> Value {
        let code = match self {
            Self::NotFromStart { .. } => "lane_not_from_start",
            Self::LaneNotShown { .. } | Self::NotShown { .. } => "lane_not_shown",
            Self::NotCompared { .. } => "checkpoint_not_compared",
            Self::OwnKeys => "own_keys",
            Self::Untrusted { .. } => "untrusted_lane",
            Self::NotJudgeable(_) => "not_judgeable",
            Self::Unjudged(_) => "not_judged",
            Self::Ahead(_) => "judged_ahead",
            Self::Bundles(_) => "bundle_not_checked",
            Self::TextsMissing(_) => "texts_missing",
        };
        let Text { en, ko } = self.text();
        json!({ "code": code, "en": en, "ko": ko })
    }
}

fn unjudged(count: u64) -> Text {
    Text {
        en: format!(
            "{count} decisions were not judged again: that would take more than any honest log of this size, or enough is wrong with the file already"
        ),
        ko: format!(
            "결정 {count}건은 다시 판정하지 않았습니다: 이 크기의 정상적인 로그보다 많은 계산이 필요하거나, 이미 잘못된 점이 충분히 많습니다"
        ),
    }
}

fn ahead(count: u64) -> Text {
    Text {
        en: format!(
            "{count} decisions were judged for an instant more than ten minutes after their record: by a clock that had jumped ahead, or for an instant that was chosen; which one cannot be checked"
        ),
        ko: format!(
            "결정 {count}건은 기록이 작성된 때보다 10분 넘게 나중 시점을 기준으로 판단했습니다. 시계가 앞서 갔던 것인지 시점을 고른 것인지는 확인할 수 없습니다"
        ),
    }
}

fn undeclared(bundles: &[Digest]) -> Text {
    let names = listed(bundles.iter(), bundles.len());
    Text {
        en: format!(
            "bundles decided of which no record shown says that they came into force; it may be said where the file shows nothing: {names}"
        ),
        ko: format!(
            "시행되었다는 기록이 파일에 없는 번들로 결정했습니다. 그 기록은 파일이 보여 주지 않는 곳에 있을 수 있습니다: {names}"
        ),
    }
}

/// The first few, as they are quoted in a sentence.
fn listed<T: std::fmt::Display>(names: impl Iterator<Item = T>, count: usize) -> String {
    let shown: Vec<String> = names.take(NAMES_SAID).map(|name| format!("`{name}`")).collect();
    let more = if count > NAMES_SAID { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Names in one sentence.
const NAMES_SAID: usize = 8;
/// Of one of them: ours have 17 at most.
const KIND_CHARS_SAID: usize = 40;

fn pair(en: &str, ko: &str) -> Text {
    Text { en: en.into(), ko: ko.into() }
}
