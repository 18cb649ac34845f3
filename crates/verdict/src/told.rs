//! A decision in words, for a person: the same sentences in the answers of the gateway, on the command line and in a console.
//!
//! *Invariant:* nothing is said here that the decision and the instant for which it was judged do not say; one language at a
//! time, and lists in its order. Both stand in the record, so the same words can be written from it at any time.

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write as _;

mod duty;

use crate::decision::{Decision, Fact, Outcome, Remedy, Text, Why};
use crate::rule::Obligation;
use crate::stamp::Stamp;

pub use duty::{Duty, UNREADABLE_RECORD, duties, duty, meanings};

/// In which language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Korean,
}

impl Language {
    #[must_use]
    pub fn pick(self, text: &Text) -> &str {
        self.say(&text.en, &text.ko)
    }

    const fn say<'a>(self, en: &'a str, ko: &'a str) -> &'a str {
        match self {
            Self::English => en,
            Self::Korean => ko,
        }
    }
}

/// Why it was refused or held, in one paragraph: the first reason with its rule and the facts that decided, and the first
/// remedy. Empty when there is no reason. `at`: Unix seconds of the instant for which it was judged; facts have an age then.
#[must_use]
pub fn paragraph(decision: &Decision, at: i64, language: Language) -> String {
    let mut text = String::new();
    if let Some(why) = decision.reasons.first() {
        text.push_str(&reason(why, at, language));
    }
    if let Some(first) = decision.remedy.first() {
        let lead = language.say("To make it pass: ", "통과하려면: ");
        let _ = write!(text, " {lead}{}", remedy(first, language));
    }
    text
}

/// What a decision asks for, in one paragraph; empty where it asks for nothing. `meanings`: at least those of its codes.
#[must_use]
pub fn asked_for(decision: &Decision, meanings: &[Obligation], language: Language) -> String {
    if decision.obligations.is_empty() {
        return String::new();
    }
    let lead = match decision.outcome {
        Outcome::Hold => language.say("Once released, it asks for", "보류가 해제되면 이행할 의무"),
        _ => language.say("It asks for", "이행할 의무"),
    };
    let mut text = format!("{lead}:");
    for (number, duty) in duties(&decision.obligations, meanings, language).iter().enumerate() {
        let _ = write!(text, " ({}) {}", number + 1, duty.sentence(language));
    }
    text
}

/// One reason: its sentence, rule and citation, and the facts that decided.
#[must_use]
pub fn reason(why: &Why, at: i64, language: Language) -> String {
    let mut text = String::from(language.pick(&why.text));
    if let Some(rule) = &why.rule {
        let citation = why.citation.as_ref().map(|citation| format!(": {citation}"));
        let lead = language.say("rule", "규칙");
        let _ = write!(text, " [{lead} {rule}{}]", citation.unwrap_or_default());
    }
    text.push_str(&decided(why, at, language));
    text
}

/// The same rule in another cell: which one, and the facts.
fn again(why: &Why, at: i64, language: Language) -> String {
    let (rule, lead) = (why.rule.as_deref().unwrap_or("-"), language.say("also", "동일 규칙"));
    let cell = why.cell.as_ref().map(|cell| format!("{} -> {}", cell.flow.name(), cell.to));
    format!("{lead} {rule}, {}.{}", cell.unwrap_or_default(), decided(why, at, language))
}

/// The facts that decided, as a sentence; empty where none is named.
fn decided(why: &Why, at: i64, language: Language) -> String {
    let facts: Vec<String> =
        why.facts.iter().take(FACTS_SHOWN_MAX).map(|one| fact(one, at, language)).collect();
    if facts.is_empty() {
        return String::new();
    }
    format!(" {}: {}.", language.say("Decided by", "판단 근거"), facts.join("; "))
}

/// `` `orders[0]` = `order-7` (PIPC, since 2026-11-01, 24 days old) ``
fn fact(fact: &Fact, at: i64, language: Language) -> String {
    let since = fact.since.as_ref().map(|since| dated(since, at, language));
    let known: Vec<String> = fact.source.clone().into_iter().chain(since).collect();
    let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
    format!("`{}` = `{}`{known}", fact.path, fact.value)
}

/// Since when, and how many whole days that was before the instant; one that is yet to come says how many after.
fn dated(since: &Stamp, at: i64, language: Language) -> String {
    let seconds = at.saturating_sub(since.starts());
    let days = seconds.unsigned_abs() / DAY_S;
    let plural = if days == 1 { "" } else { "s" };
    match (language, seconds < 0) {
        (Language::English, false) => format!("since {since}, {days} day{plural} old"),
        (Language::English, true) => format!("from {since}, {days} day{plural} later"),
        (Language::Korean, false) => format!("{since}부터, {days}일 경과"),
        (Language::Korean, true) => format!("{since}부터, {days}일 후"),
    }
}

/// A remedy with what it needs besides.
#[must_use]
pub fn remedy(remedy: &Remedy, language: Language) -> String {
    let mut text = String::from(language.pick(&remedy.text));
    for more in &remedy.and {
        let lead = language.say("And: ", "또한: ");
        let _ = write!(text, " {lead}{}", language.pick(&more.text));
    }
    text
}

/// The whole decision on a page of plain text, one thing a line. `at` as in [`paragraph`], `meanings` as in [`asked_for`].
#[must_use]
pub fn page(decision: &Decision, meanings: &[Obligation], at: i64, language: Language) -> String {
    let mut page = String::new();
    let mut line = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    let say = |en, ko| language.say(en, ko);
    let id = decision.id.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
    line(format!("{id}{}", outcome(decision.outcome, language)));
    if let Some(until) = &decision.valid_until {
        line(format!("  {} {until}", say("holds until", "유효 기한")));
    }
    for (number, why) in decision.reasons.iter().enumerate() {
        let same = |one: &Why| (one.code, &one.rule) == (why.code, &why.rule) && why.cell.is_some();
        // a rule is said once; of the other cells that it refuses, where they are and why
        let said = decision.reasons.iter().take(number).any(same);
        let text = if said { again(why, at, language) } else { reason(why, at, language) };
        line(format!("  {}: {} {text}", say("because", "이유"), why.code.code()));
    }
    for duty in duties(&decision.obligations, meanings, language) {
        line(format!("  {}: {}", say("obligation", "의무"), duty.said()));
        line(format!("    {}: {}", say("due", "기한"), duty.due));
        line(format!("    {}: {}", say("closing", "종결"), duty.closing));
    }
    for one in &decision.remedy {
        line(format!("  {}: {}", say("to make it pass", "통과하려면"), remedy(one, language)));
    }
    for cell in &decision.cells {
        let (at, rules) = (&cell.at, cell.rules.join(" "));
        let rules = if rules.is_empty() { String::new() } else { format!(" ({rules})") };
        line(format!(
            "  {}: `{}` {}, {} -> {}: {}{rules}",
            say("cell", "판단 단위"),
            at.component,
            at.regime,
            at.flow.name(),
            at.to,
            outcome(cell.outcome, language)
        ));
    }
    line(format!("  {} {}", say("bundle", "정책 묶음"), decision.bundle));
    line(format!("  {} {}", say("facts", "사실"), decision.facts_digest));
    page
}

const fn outcome(outcome: Outcome, language: Language) -> &'static str {
    match (outcome, language) {
        (Outcome::Allow, Language::English) => "ALLOW",
        (Outcome::Allow, Language::Korean) => "ALLOW (허용)",
        (Outcome::AllowWithObligations, Language::English) => "ALLOW_WITH_OBLIGATIONS",
        (Outcome::AllowWithObligations, Language::Korean) => {
            "ALLOW_WITH_OBLIGATIONS (의무 조건부 허용)"
        }
        (Outcome::Hold, Language::English) => "HOLD",
        (Outcome::Hold, Language::Korean) => "HOLD (검토를 위해 보류)",
        (Outcome::Deny, Language::English) => "DENY",
        (Outcome::Deny, Language::Korean) => "DENY (거부)",
    }
}

/// More in one sentence nobody reads; the decision has them all.
const FACTS_SHOWN_MAX: usize = 4;
const DAY_S: u64 = 86_400;

#[cfg(test)]
mod tests {
    //! Proves that the age of a fact is that of the instant for which the decision was judged.

    use super::*;

    #[test]
    fn a_fact_is_as_old_as_it_was_when_it_decided() {
        let since = Stamp::parse("2026-11-01T09:00:00+09:00").unwrap();
        let then = since.starts();
        for (after, en, ko) in [
            (0, "0 days old", "0일 경과"),
            (86_399, "0 days old", "0일 경과"),
            (86_400, "1 day old", "1일 경과"),
            (24 * 86_400 + 5, "24 days old", "24일 경과"),
        ] {
            let said = |language| dated(&since, then + after, language);
            assert_eq!(said(Language::English), format!("since {since}, {en}"));
            assert_eq!(said(Language::Korean), format!("{since}부터, {ko}"));
        }
        let said = |language| dated(&since, then - 2 * 86_400, language);
        assert_eq!(said(Language::English), format!("from {since}, 2 days later"));
        assert_eq!(said(Language::Korean), format!("{since}부터, 2일 후"));
    }
}
