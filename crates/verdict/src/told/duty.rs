//! What an allow asks for, in words: the sentence behind a code, when it is due, how it ends and whether a machine looks.
//!
//! *Invariant:* a code without a meaning is said to have none; nothing is made up for it.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde::Serialize;

use super::Language;
use crate::rule::{Check, Every, Obligation};
use crate::stamp::Stamp;

/// An obligation as a person reads it, in one language; the code is for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duty {
    pub code: String,
    pub text: String,
    /// The article, notice or decision that it rests on; absent where the bundle says nothing of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub due: String,
    pub closing: String,
    /// Whether a machine can find it fulfilled.
    pub machine_checked: bool,
}

impl Duty {
    /// All of it on one line.
    #[must_use]
    pub fn sentence(&self, language: Language) -> String {
        let (due, closing) = (language.say("Due", "기한"), language.say("Closing", "종결"));
        format!("{} {due}: {} {closing}: {}", self.said(), self.due, self.closing)
    }

    /// What is to be done, with code and source.
    pub(super) fn said(&self) -> String {
        let source = self.source.as_ref().map(|source| format!(": {source}")).unwrap_or_default();
        format!("{} [{}{source}]", self.text, self.code)
    }
}

/// A code in words. `due`: Unix seconds, where it is known already when it must be done.
#[must_use]
pub fn duty(
    code: &str,
    meaning: Option<&Obligation>,
    due: Option<i64>,
    language: Language,
) -> Duty {
    let code = code.to_string();
    let Some(meaning) = meaning else {
        return Duty {
            text: unexplained(&code, language).to_string(),
            source: None,
            due: language.say(NO_TIME.0, NO_TIME.1).to_string(),
            closing: language.say(BY_A_PERSON.0, BY_A_PERSON.1).to_string(),
            machine_checked: false,
            code,
        };
    };
    Duty {
        text: language.pick(&meaning.text).to_string(),
        source: Some(meaning.source.clone()),
        due: when(meaning, due, language),
        closing: closing(meaning.check.as_ref(), language),
        machine_checked: meaning.check.is_some(),
        code,
    }
}

/// The codes of a decision in words, in its order.
#[must_use]
pub fn duties(codes: &[String], meanings: &[Obligation], language: Language) -> Vec<Duty> {
    let meaning = |code: &String| meanings.iter().find(|one| one.id == *code);
    codes.iter().map(|code| duty(code, meaning(code), None, language)).collect()
}

/// What a book says of these codes, for whoever must say it without the book.
pub fn meanings<'a>(
    codes: impl IntoIterator<Item = &'a String>,
    vocabulary: &[Obligation],
) -> Vec<Obligation> {
    let mut all: Vec<Obligation> = Vec::new();
    for code in codes {
        if all.iter().any(|known| known.id == *code) {
            continue;
        }
        all.extend(vocabulary.iter().find(|one| one.id == *code).cloned());
    }
    all
}

fn unexplained(code: &str, language: Language) -> &'static str {
    if code == UNREADABLE_RECORD {
        return language.say(
            "The texts of a record that asks for something are gone: find out from elsewhere what it asked for.",
            "의무를 부과한 기록의 본문이 남아 있지 않으므로, 무엇을 요구하였는지 다른 방법으로 확인하여야 합니다.",
        );
    }
    language.say(
        "The bundle that decided does not say what this code means.",
        "결정에 사용된 정책 묶음에 이 코드의 의미가 적혀 있지 않습니다.",
    )
}

fn when(meaning: &Obligation, due: Option<i64>, language: Language) -> String {
    let Some(days) = meaning.due_days else {
        let text = language.say(NO_TIME.0, NO_TIME.1);
        return format!("{text}{}", again(meaning.every, language));
    };
    let by = due.and_then(|due| Stamp::at(due).ok());
    let by = by.map(|by| match language {
        Language::English => format!("by {by}, "),
        Language::Korean => format!("{by}까지, "),
    });
    let span = match (days, language) {
        (0, Language::English) => "before the first decision that asks for it".to_string(),
        (0, Language::Korean) => "이를 요구하는 첫 결정 이전".to_string(),
        (days, Language::English) => {
            let plural = if days == 1 { "" } else { "s" };
            format!("within {days} day{plural} after the first decision that asks for it")
        }
        (days, Language::Korean) => format!("이를 요구하는 첫 결정 후 {days}일 이내"),
    };
    format!("{}{span}{}", by.unwrap_or_default(), again(meaning.every, language))
}

/// For how long it serves once it is fulfilled.
const fn again(every: Every, language: Language) -> &'static str {
    match every {
        Every::Once => language.say("; once.", " (1회)."),
        Every::Year => language.say(
            "; again in each calendar year with such a decision.",
            " (그러한 결정이 있는 해마다).",
        ),
        Every::Month => language.say(
            "; again in each calendar month with such a decision.",
            " (그러한 결정이 있는 달마다).",
        ),
    }
}

fn closing(check: Option<&Check>, language: Language) -> String {
    match check {
        None => language.say(BY_A_PERSON.0, BY_A_PERSON.1).to_string(),
        Some(Check::Records) => language
            .say(
                "a machine looks it up: the log has its records from the first one on. Nobody can close it by hand.",
                "기계가 확인합니다: 기록부에 첫 기록부터 모두 남아 있어야 합니다. 사람이 종결할 수 없습니다.",
            )
            .to_string(),
        Some(Check::AccessLog) => language
            .say(
                "a machine finds it met when the provider's access log was delivered for the whole period and each entry names a decision that ran then (`haetae obligation check`); what it cannot explain is listed, and a person closes it with the digest of a document that shows it.",
                "제공자의 접근 기록이 기간 전체에 대하여 제출되고 모든 항목이 그때 실행된 결정과 대응하면 기계가 이행된 것으로 확인합니다(`haetae obligation check`). 설명되지 않는 항목은 목록으로 남고, 담당자가 증빙 문서의 다이제스트를 제출하여 종결합니다.",
            )
            .to_string(),
        Some(Check::Ground { r#type, detail }) => {
            let detail = detail.name();
            match language {
                Language::English => format!("a machine finds it met when every such decision was carried by a `{type}` with `{detail}` on file; else a person closes it with the digest of a document that shows it."),
                Language::Korean => format!("그러한 모든 결정의 근거인 `{type}`에 `{detail}`이(가) 등록되어 있으면 기계가 이행된 것으로 확인하고, 그렇지 않으면 담당자가 증빙 문서의 다이제스트를 제출하여 종결합니다."),
            }
        }
    }
}

/// The code that stands for a record whose texts are gone.
pub const UNREADABLE_RECORD: &str = "UNREADABLE_RECORD";
const NO_TIME: (&str, &str) = ("its source gives no time", "정해진 기한 없음");
const BY_A_PERSON: (&str, &str) = (
    "a person says what was done, with the digest of a document that shows it; no machine checks it.",
    "담당자가 이행 내용과 증빙 문서의 다이제스트를 제출하여 종결합니다. 기계가 확인하지 않습니다.",
);

#[cfg(test)]
mod tests {
    //! Proves that a duty says when, how it ends and who looks, in one language at a time.

    use alloc::vec;

    use super::*;
    use crate::decision::Text;
    use crate::rule::{Detail, Mark};

    fn report() -> Obligation {
        Obligation {
            id: "REPORT".into(),
            text: Text { en: "Report it.".into(), ko: "보고하여야 합니다.".into() },
            source: "Act 1".into(),
            mark: Mark::M,
            every: Every::Once,
            due_days: Some(90),
            check: None,
        }
    }

    #[test]
    fn all_of_it_is_said_in_the_language_of_who_reads() {
        let one = report();
        let en = duty("REPORT", Some(&one), None, Language::English);
        assert_eq!(
            en.sentence(Language::English),
            "Report it. [REPORT: Act 1] Due: within 90 days after the first decision that asks for it; once. Closing: a \
             person says what was done, with the digest of a document that shows it; no machine checks it."
        );
        let ko = duty("REPORT", Some(&one), None, Language::Korean).sentence(Language::Korean);
        assert_eq!(
            ko,
            "보고하여야 합니다. [REPORT: Act 1] 기한: 이를 요구하는 첫 결정 후 90일 이내 (1회). 종결: 담당자가 이행 내용과 증빙 \
             문서의 다이제스트를 제출하여 종결합니다. 기계가 확인하지 않습니다."
        );
    }

    #[test]
    fn a_time_that_is_known_is_named_and_one_that_no_source_gives_is_not_made_up() {
        let due = |due_days, every, at| {
            let one = Obligation { every, due_days, ..report() };
            duty("REPORT", Some(&one), at, Language::English).due
        };
        assert_eq!(
            due(Some(1), Every::Year, Some(1_795_132_800)),
            "by 2026-11-20T00:00:00Z, within 1 day after the first decision that asks for it; again in each calendar year \
             with such a decision."
        );
        assert_eq!(
            due(Some(0), Every::Once, None),
            "before the first decision that asks for it; once."
        );
        assert_eq!(
            due(None, Every::Month, None),
            "its source gives no time; again in each calendar month with such a decision."
        );
    }

    #[test]
    fn whether_a_machine_looks_is_said_and_marked() {
        let ground =
            Check::Ground { r#type: "kr.contract_disclosed".into(), detail: Detail::DisclosureRef };
        for (check, machine, part) in [
            (None, false, "no machine checks it"),
            (Some(Check::AccessLog), true, "what it cannot explain is listed"),
            (Some(Check::Records), true, "Nobody can close it by hand"),
            (Some(ground), true, "a `kr.contract_disclosed` with `disclosure_ref` on file"),
        ] {
            let one = Obligation { check, ..report() };
            let told = duty("REPORT", Some(&one), None, Language::English);
            assert_eq!(told.machine_checked, machine);
            assert!(told.closing.contains(part), "{}", told.closing);
        }
    }

    #[test]
    fn a_code_without_a_meaning_is_said_to_have_none() {
        let codes = vec!["REPORT".into(), "ODD".into(), UNREADABLE_RECORD.into()];
        let known = meanings(codes.iter().chain(&codes), &[report()]);
        assert_eq!(known, [report()]);
        let all = duties(&codes, &known, Language::English);
        assert_eq!(all[0].text, "Report it.");
        assert!(all[1].text.contains("does not say what this code means"), "{:?}", all[1]);
        assert!(all[2].text.contains("are gone"), "{:?}", all[2]);
    }
}
