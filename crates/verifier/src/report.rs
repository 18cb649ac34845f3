//! What is said in the end: counts, findings, and what could not be checked.

use serde_json::{Value, json};
use verdict::decision::Text;

use crate::finding::Finding;

/// The result of one file.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub counts: Counts,
    /// In the order of the file, at most [`Report::FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings past that.
    pub more: u64,
    pub open: Vec<Open>,
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
    /// So many texts that decisions name are not there, whether one judges by them or not.
    TextsMissing(u64),
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

    pub(crate) fn find(&mut self, finding: Finding) {
        if self.findings.len() < Self::FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Once is enough.
    pub(crate) fn open(&mut self, open: Open) {
        if !self.open.contains(&open) {
            self.open.push(open);
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
            "counts": {
                "bytes": counts.bytes, "lines": counts.lines, "lanes": counts.lanes,
                "records": counts.records, "unknown_kinds": counts.unknown_kinds,
                "rows": counts.rows, "texts": counts.texts, "texts_missing": counts.texts_missing, "tiles": counts.tiles,
                "checkpoints": counts.checkpoints, "decisions": counts.decisions,
                "judged": counts.judged, "not_judgeable": counts.not_judgeable,
                "second_engine": counts.second_engine, "without_end": counts.without_end,
                "without_access": counts.without_access,
            },
        })
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
            Self::TextsMissing(count) => Text {
                en: format!("{count} texts that decisions name are not in the file"),
                ko: format!("결정이 가리키는 텍스트 {count}개가 파일에 없습니다"),
            },
        }
    }

    fn json(&self) -> Value {
        let code = match self {
            Self::LaneNotShown { .. } | Self::NotShown { .. } => "lane_not_shown",
            Self::NotCompared { .. } => "checkpoint_not_compared",
            Self::OwnKeys => "own_keys",
            Self::Untrusted { .. } => "untrusted_lane",
            Self::NotJudgeable(_) => "not_judgeable",
            Self::TextsMissing(_) => "texts_missing",
        };
        let Text { en, ko } = self.text();
        json!({ "code": code, "en": en, "ko": ko })
    }
}

fn pair(en: &str, ko: &str) -> Text {
    Text { en: en.into(), ko: ko.into() }
}
