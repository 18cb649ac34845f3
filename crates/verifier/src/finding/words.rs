//! The sentences: one in English and one in Korean for each finding, both saying where.

use tlog::bundle::LEAF_MAX;
use verdict::{
    decision::{Outcome, Text},
    stamp::Stamp,
};

use super::{Contradiction, FileFault, Finding, Judged, OpenFault, Place, RecordFault, TreeFault};
use crate::trust::Doubt;

/// A pair of sentences.
macro_rules! say {
    ($en:literal, $ko:literal) => {
        Text { en: format!($en), ko: format!($ko) }
    };
}

pub(super) fn of(finding: &Finding) -> Text {
    match finding {
        Finding::File(fault) => file(fault),
        Finding::Tree(fault) => tree(fault),
        Finding::Record(place, fault) => {
            let (at, what) = (locate(place), record(fault));
            Text { en: format!("{}: {}", at.en, what.en), ko: format!("{}: {}", at.ko, what.ko) }
        }
    }
}

fn locate(place: &Place) -> Text {
    let (lane, index) = (place.lane, place.index);
    match &place.id {
        Some(id) => say!(
            "lane {lane}, index {index}, record {id}",
            "레인 {lane}, 인덱스 {index}, 기록 {id}"
        ),
        None => say!("lane {lane}, index {index}", "레인 {lane}, 인덱스 {index}"),
    }
}

fn file(fault: &FileFault) -> Text {
    match fault {
        FileFault::Cut { line } => say!(
            "the file ends after line {line} without its last line `end`: it was cut short",
            "파일이 마지막 줄 `end` 없이 {line}번째 줄에서 끝납니다: 뒷부분이 잘렸습니다"
        ),
        FileFault::After { line } => say!(
            "line {line} stands after the last line `end`: something was added",
            "{line}번째 줄이 마지막 줄 `end` 뒤에 있습니다: 무언가 덧붙었습니다"
        ),
        FileFault::Created => say!(
            "the header does not say when the file was made: `created` is not an instant",
            "머리말에 파일을 만든 시각이 없습니다: `created`가 올바른 시각이 아닙니다"
        ),
        FileFault::CreatedEarly { seconds } => say!(
            "the header says that the file was made {seconds} s before its newest record was written",
            "머리말에 적힌 파일 생성 시각이 가장 새로운 기록보다 {seconds}초 앞섭니다"
        ),
        FileFault::NotALine { line } => say!(
            "line {line} is not a line of an export",
            "{line}번째 줄은 내보내기 파일의 줄이 아닙니다"
        ),
        FileFault::Order { line } => say!(
            "line {line} stands in the wrong place of the file",
            "{line}번째 줄이 파일에서 잘못된 위치에 있습니다"
        ),
        FileFault::Lane { line, lane } => say!(
            "line {line} names lane {lane}, which the header does not name once",
            "{line}번째 줄의 레인 {lane}이(가) 머리말에 한 번만 나오지 않습니다"
        ),
        FileFault::Origin { lane, origin } => {
            let origin = origin.escape_debug();
            say!(
                "the header names lane {lane} `{origin}`, which does not end in its number",
                "머리말에 적힌 레인 {lane}의 이름 `{origin}`이(가) 그 번호로 끝나지 않습니다"
            )
        }
        FileFault::LooseRow { line } => say!(
            "line {line} is a row that does not follow its record",
            "{line}번째 줄의 행이 해당 기록 바로 뒤에 있지 않습니다"
        ),
        FileFault::Count { what, stated, found } => say!(
            "the last line states {stated} {what}, the file holds {found}",
            "마지막 줄은 {what} {stated}개라고 하지만 파일에는 {found}개가 있습니다"
        ),
        FileFault::Sha256 => say!(
            "the bytes of the file do not have the SHA-256 that its last line states",
            "파일의 바이트가 마지막 줄에 적힌 SHA-256과 맞지 않습니다"
        ),
        FileFault::Text { line, digest } => say!(
            "line {line}: the text kept as {digest} does not have that digest: it was changed",
            "{line}번째 줄: {digest}(으)로 보관된 텍스트의 다이제스트가 다릅니다: 내용이 바뀌었습니다"
        ),
        FileFault::TextKind { digest } => say!(
            "the text {digest} is kept under another kind than the one a decision names it by",
            "텍스트 {digest}의 종류가 결정이 가리키는 종류와 다릅니다"
        ),
        FileFault::SpareText { digest } => say!(
            "the text {digest} is named by no decision of the file",
            "텍스트 {digest}을(를) 가리키는 결정이 파일에 없습니다"
        ),
    }
}

fn tree(fault: &TreeFault) -> Text {
    match fault {
        TreeFault::Checkpoint { lane, size, doubt } => {
            let why = doubted(doubt);
            Text {
                en: format!("lane {lane}, checkpoint of size {size}: {}", why.en),
                ko: format!("레인 {lane}, 크기 {size}의 체크포인트: {}", why.ko),
            }
        }
        TreeFault::Range { lane, from, to } => say!(
            "lane {lane}: the header begins at index {from} and ends before index {to}, which is no range",
            "레인 {lane}: 머리말의 범위가 인덱스 {from}에서 시작해 인덱스 {to} 앞에서 끝나므로 올바른 범위가 아닙니다"
        ),
        TreeFault::Uncovered { lane, to, last } => say!(
            "lane {lane}: records up to {to} are shown, the last checkpoint covers {last}",
            "레인 {lane}: 기록은 {to}까지 있으나 마지막 체크포인트의 크기는 {last}입니다"
        ),
        TreeFault::Quorum { lane, size, cosigned } => say!(
            "lane {lane}, checkpoint of size {size}: {cosigned} known witnesses cosigned, which is not the quorum",
            "레인 {lane}, 크기 {size}의 체크포인트: 알려진 증인 {cosigned}명의 공동 서명으로는 정족수에 못 미칩니다"
        ),
        TreeFault::Left { lane } => say!(
            "lane {lane}: the subtrees before the first record do not fit its index",
            "레인 {lane}: 첫 기록 앞의 하위 트리가 그 인덱스와 맞지 않습니다"
        ),
        TreeFault::Tile { lane, level, n, at } => say!(
            "lane {lane}: entry {at} of tile {level}/{n} is not the root of the tile below it",
            "레인 {lane}: 타일 {level}/{n}의 {at}번 항목이 아래 타일의 루트가 아닙니다"
        ),
        TreeFault::TileMissing { lane, level, n } => say!(
            "lane {lane}: the full tile {level}/{n} is not there",
            "레인 {lane}: 가득 찬 타일 {level}/{n}이(가) 없습니다"
        ),
        TreeFault::Missing { lane, from, to } => missing(*lane, *from, *to),
        TreeFault::Behind { lane, from, to } => {
            let Text { en, ko } = missing(*lane, *from, *to);
            say!(
                "{en}, and a checkpoint that you kept covers as many: the end was cut off, or the file was made before it, and a newer one is to be asked for",
                "{ko}. 보관하신 체크포인트에는 그만큼의 기록이 있습니다: 끝이 잘렸거나, 파일이 그 체크포인트보다 먼저 만들어졌습니다. 먼저 만들어진 경우에는 지금 다시 내보낸 파일로 확인하십시오"
            )
        }
        TreeFault::Root { lane, from, to } => say!(
            "lane {lane}: the tree of {to} records is not the one that was signed; the first difference is at index {from} or after",
            "레인 {lane}: 기록 {to}개의 트리가 서명된 트리와 다릅니다; 첫 차이는 인덱스 {from} 또는 그 뒤에 있습니다"
        ),
    }
}

fn missing(lane: u16, from: u64, to: u64) -> Text {
    if from + 1 == to {
        return say!(
            "lane {lane}, index {from}: the record is missing",
            "레인 {lane}, 인덱스 {from}: 기록이 없습니다"
        );
    }
    let last = to - 1;
    say!(
        "lane {lane}, index {from} to {last}: the records are missing",
        "레인 {lane}, 인덱스 {from}부터 {last}까지: 기록이 없습니다"
    )
}

pub(crate) fn doubted(doubt: &Doubt) -> Text {
    match doubt {
        Doubt::Unknown => {
            say!("no trusted key has this log's name", "이 로그 이름의 신뢰하는 키가 없습니다")
        }
        Doubt::Unreadable => say!("it is not a signed checkpoint", "서명된 체크포인트가 아닙니다"),
        Doubt::Origin(origin) => {
            let origin = origin.escape_debug();
            say!("it is of the log `{origin}`", "다른 로그 `{origin}`의 것입니다")
        }
        Doubt::Size(size) => {
            say!("its text states size {size}", "본문에는 크기가 {size}(으)로 되어 있습니다")
        }
        Doubt::Unsigned => {
            say!("it is not signed by the trusted key", "신뢰하는 키의 서명이 없습니다")
        }
        Doubt::BadSignature => say!(
            "the signature of the trusted key does not fit it",
            "신뢰하는 키의 서명이 맞지 않습니다"
        ),
        Doubt::BadCosignature => say!(
            "the cosignature of a known witness does not fit it",
            "알려진 증인의 공동 서명이 맞지 않습니다"
        ),
    }
}

fn record(fault: &RecordFault) -> Text {
    match fault {
        RecordFault::Edited => say!(
            "the record was changed after it was written: its hash is not the one that was kept",
            "기록이 작성된 뒤에 바뀌었습니다: 해시가 보관된 값과 다릅니다"
        ),
        RecordFault::Moved { lane, index } => say!(
            "the record in this place is that of lane {lane}, index {index}",
            "이 자리에 레인 {lane}, 인덱스 {index}의 기록이 있습니다"
        ),
        RecordFault::OutOfOrder => say!(
            "the record stands behind one that follows it",
            "기록이 뒤에 와야 할 기록보다 뒤에 있습니다"
        ),
        RecordFault::Repeated => {
            say!("there is a record in this place already", "이 자리에 이미 기록이 있습니다")
        }
        RecordFault::Outside => say!(
            "the record stands outside the range that the header names",
            "기록이 머리말에 적힌 범위 밖에 있습니다"
        ),
        RecordFault::Unreadable("v") => say!(
            "the record is of a version that this program does not understand",
            "이 프로그램이 이해하지 못하는 버전의 기록입니다"
        ),
        RecordFault::Unreadable("length") => say!(
            "the record is longer than {LEAF_MAX} bytes, more than a log holds",
            "기록이 로그에 담을 수 있는 {LEAF_MAX}바이트보다 깁니다"
        ),
        RecordFault::Unreadable(key) => say!(
            "the record cannot be read: `{key}` is missing or wrong",
            "기록을 읽을 수 없습니다: `{key}`이(가) 없거나 잘못되었습니다"
        ),
        RecordFault::NotCanonical => {
            say!("the record is not in canonical form", "기록이 정규 형식이 아닙니다")
        }
        RecordFault::SameId { lane, index } => say!(
            "lane {lane}, index {index} has the same record id",
            "레인 {lane}, 인덱스 {index}의 기록 번호와 같습니다"
        ),
        RecordFault::RowDiffers(key) => {
            let key = key.escape_debug();
            say!(
                "the row of the query tables differs from the record in `{key}`",
                "조회 테이블의 행이 기록과 `{key}`에서 다릅니다"
            )
        }
        RecordFault::RowMissing => {
            say!("the row of the query tables is missing", "조회 테이블의 행이 없습니다")
        }
        RecordFault::SpareRow => say!(
            "the query tables have a row where there should be none",
            "조회 테이블에 있어서는 안 되는 행이 있습니다"
        ),
        RecordFault::Judged(judged) => decided(judged),
        RecordFault::BundleUnknown { digest } => say!(
            "decided under the bundle {digest}, which the log never said came into force",
            "로그에서 시행되었다고 한 적이 없는 번들 {digest}(으)로 결정했습니다"
        ),
        RecordFault::BundleNotApproved { digest } => say!(
            "decided under the bundle {digest}, which is none of the approved ones",
            "승인된 번들에 속하지 않는 번들 {digest}(으)로 결정했습니다"
        ),
        RecordFault::Follows(contradiction) => followed(*contradiction),
        _ => sequence(fault),
    }
}

/// The rules over a lane and between lanes.
fn sequence(fault: &RecordFault) -> Text {
    match fault {
        RecordFault::Epoch => say!("the epoch falls", "에포크가 줄어듭니다"),
        RecordFault::LaneOpen(OpenFault::Missing) => say!(
            "a lane or an epoch begins here without `lane_open`",
            "레인이나 에포크가 `lane_open` 없이 시작합니다"
        ),
        RecordFault::LaneOpen(OpenFault::Spare) => say!(
            "`lane_open` stands in the middle of an epoch",
            "`lane_open`이 에포크 중간에 있습니다"
        ),
        RecordFault::LaneOpen(OpenFault::Origin) => {
            say!("`lane_open` names another log", "`lane_open`이 다른 로그를 가리킵니다")
        }
        RecordFault::LaneOpen(OpenFault::Size) => say!(
            "`lane_open` states a size other than its index",
            "`lane_open`의 크기가 그 인덱스와 다릅니다"
        ),
        RecordFault::LaneOpen(OpenFault::Root) => say!(
            "`lane_open` found another tree than the one before it",
            "`lane_open`이 본 트리가 그 앞의 트리와 다릅니다"
        ),
        RecordFault::FactVersion { stated, in_force } => say!(
            "decided on fact version {stated}, in force was {in_force}",
            "사실 버전 {stated}(으)로 결정했으나 시행 중인 버전은 {in_force}입니다"
        ),
        RecordFault::NoAccess => say!(
            "it allows without saying by which access rows, and a record of this lane before it does say so: an older or another program wrote it",
            "어떤 접근 권한 항목으로 허용했는지 적혀 있지 않으나 이 레인의 앞선 기록에는 적혀 있습니다: 이전 버전이나 다른 프로그램이 썼습니다"
        ),
        RecordFault::Head { lane, size } => say!(
            "the heartbeat keeps another root of lane {lane} at size {size}: that lane was rewritten",
            "하트비트에 남은 레인 {lane}, 크기 {size}의 루트가 다릅니다: 그 레인이 다시 쓰였습니다"
        ),
        RecordFault::Shorter { lane, size, to } => say!(
            "the heartbeat saw {size} records in lane {lane}, the file shows {to}: that lane was cut back",
            "하트비트가 본 레인 {lane}의 기록은 {size}개인데 파일에는 {to}까지만 있습니다: 그 레인이 잘렸습니다"
        ),
        _ => say!(
            "the time is not later than that of the record before it",
            "시각이 앞 기록보다 늦지 않습니다"
        ),
    }
}

fn decided(judged: &Judged) -> Text {
    match judged {
        Judged::Detail => say!(
            "judged again, the decision has other reasons in detail",
            "다시 판정하면 결정의 상세 근거가 다릅니다"
        ),
        Judged::Outcome { stated, judged } => {
            let (stated, judged) = (stated.map_or("?", name), name(*judged));
            say!(
                "judged again, the outcome is {judged}, not {stated}",
                "다시 판정한 결과는 {stated}이(가) 아니라 {judged}입니다"
            )
        }
        Judged::Reason => {
            say!("judged again, the first reason is another", "다시 판정하면 첫째 사유가 다릅니다")
        }
        Judged::Rule => {
            say!("judged again, another rule decides", "다시 판정하면 적용 규칙이 다릅니다")
        }
        Judged::Site => say!(
            "judged again, the chosen site is not among the permitted ones",
            "다시 판정하면 선택된 사이트가 허용된 사이트가 아닙니다"
        ),
        Judged::SiteShape => say!(
            "an allow names its site, TLS identity and request, a refusal none of them",
            "허용 기록에는 사이트, TLS 신원, 요청이 있어야 하고 거부 기록에는 없어야 합니다"
        ),
        Judged::Grade => say!(
            "the rules and the record do not agree on whether witnesses had to cosign it first",
            "증인이 먼저 함께 서명해야 하는지에 대해 규칙과 기록이 다릅니다"
        ),
        Judged::Access => say!(
            "the access rows kept with the decision are about another service",
            "결정과 함께 보관된 접근 권한 항목이 다른 서비스에 관한 것입니다"
        ),
        Judged::AccessOperation => say!(
            "the access rows kept with the decision are about another operation than the one that was asked for",
            "결정과 함께 보관된 접근 권한 항목이 요청한 작업이 아닌 다른 작업에 관한 것입니다"
        ),
        Judged::RanOut { until } => {
            let until = Stamp::at(*until).map_or_else(|_| until.to_string(), |at| at.to_string());
            say!(
                "what it was judged on held until {until} only, and the record was written then or later",
                "판단의 근거가 된 사실은 {until}까지만 유효한데 기록은 그때 또는 그 뒤에 작성되었습니다"
            )
        }
        Judged::Unusable(cause) => {
            let cause = cause.escape_debug();
            say!(
                "the decision cannot be judged from its texts: {cause}",
                "텍스트로 결정을 다시 판정할 수 없습니다: {cause}"
            )
        }
    }
}

fn followed(contradiction: Contradiction) -> Text {
    match contradiction {
        Contradiction::Refused => {
            say!("the decision that it follows refused", "앞선 결정이 거부였습니다")
        }
        Contradiction::Early => {
            say!("it is not later than the decision that it follows", "앞선 결정보다 늦지 않습니다")
        }
        Contradiction::Twice => say!(
            "the decision that it follows has one already",
            "앞선 결정에 같은 종류의 기록이 이미 있습니다"
        ),
        Contradiction::NotItsCut => say!(
            "what it says cut the answer is no refusal of its decision judged again",
            "응답을 끊었다고 적힌 기록이 그 결정을 다시 판단한 거부가 아닙니다"
        ),
        Contradiction::Identity => say!(
            "the site showed another TLS identity than the decision that it follows asks for",
            "사이트가 제시한 TLS 신원이 앞선 결정이 요구한 신원과 다릅니다"
        ),
        Contradiction::Nowhere => say!(
            "the decision that it follows is nowhere, and all that was written before it is shown",
            "앞서 작성된 기록이 모두 있는데도 앞선 결정이 어디에도 없습니다"
        ),
    }
}

const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "ALLOW",
        Outcome::AllowWithObligations => "ALLOW_WITH_OBLIGATIONS",
        Outcome::Hold => "HOLD",
        Outcome::Deny => "DENY",
    }
}
