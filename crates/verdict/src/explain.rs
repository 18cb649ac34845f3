//! Why, in words: the cell, the published sentence of the reason, and the rule's own sentence.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use crate::{
    decision::{CellRef, Text, Why},
    facts::Gap,
    reason::Reason,
    rule::{Basis, Mark, Rulebook},
};

/// One reason that a rule gives for a cell.
pub(crate) fn why(
    rulebook: &Rulebook,
    code: Reason,
    rule: Option<&str>,
    cell: Option<&CellRef>,
) -> Why {
    let rule = rule.and_then(|rule| rulebook.rule(rule));
    let lead = cell.map(place_of).unwrap_or_default();
    let sentence = |own: &str| if own.is_empty() { String::new() } else { format!(" {own}") };
    let (en, ko) = rule.map_or(("", ""), |rule| (&rule.text.en, &rule.text.ko));
    let text = Text {
        en: format!("{lead}{}{}", code.en(), sentence(en)),
        ko: format!("{lead}{}{}", code.ko(), sentence(ko)),
    };
    Why {
        code,
        rule: rule.map(|rule| rule.id.clone()),
        basis: rule
            .map(|rule| rule.basis.iter().map(|b| basis(*b).to_string()).collect())
            .unwrap_or_default(),
        cell: cell.cloned(),
        text,
        citation: rule.map(|rule| match rule.mark {
            Mark::V => rule.citation.clone(),
            Mark::M | Mark::VM => format!("{} (unverified)", rule.citation),
        }),
        missing: Vec::new(),
        ground: None,
        facts: Vec::new(),
    }
}

/// Facts that are not known; `rule` is the one that needs them, or the one that refuses what is unknown.
pub(crate) fn missing(
    rulebook: &Rulebook,
    rule: Option<&str>,
    cell: Option<&CellRef>,
    paths: Vec<String>,
) -> Why {
    let rule = rule.or(rulebook.book().missing_rule.as_deref());
    let mut why = why(rulebook, Reason::MissingFact, rule, cell);
    let list = quoted(&paths);
    why.text.en = format!("Not known: {list}. {}", why.text.en);
    why.text.ko = format!("알 수 없는 사실: {list}. {}", why.text.ko);
    why.missing = paths;
    why
}

/// A rule that asks for something only later is not cited as if it asked now.
pub(crate) fn not_begun(rulebook: &Rulebook, why: &mut Why, at: i64) {
    let rule = why.rule.as_deref().and_then(|rule| rulebook.rule(rule));
    let Some((rule, from)) = rule.and_then(|rule| Some((rule, rule.from.as_ref()?))) else {
        return;
    };
    if from.starts() > at {
        why.text.en = format!("{} {} is not in force before {from}.", why.text.en, rule.id);
        why.text.ko = format!("{} {} 규칙은 {from}부터 효력이 있습니다.", why.text.ko, rule.id);
    }
}

/// A refusal that precedes the rules.
pub(crate) fn gap(rulebook: &Rulebook, gap: &Gap) -> Why {
    let mut why = match gap.reason {
        Reason::MissingFact => missing(rulebook, None, None, vec![gap.what.clone()]),
        code => why(rulebook, code, None, None),
    };
    if why.missing.is_empty() && !gap.what.is_empty() {
        // a sentence has backticks of its own, where it repeats what the caller gave
        let is_sentence = gap.what.contains(' ');
        let what = if is_sentence { format!("({})", gap.what) } else { format!("`{}`", gap.what) };
        why.text.en = format!("{} {what}", why.text.en);
        why.text.ko = format!("{} {what}", why.text.ko);
    }
    why
}

/// `` `a`, `b` ``
pub(crate) fn quoted(terms: &[String]) -> String {
    let quoted: Vec<String> = terms.iter().map(|term| format!("`{term}`")).collect();
    quoted.join(", ")
}

fn place_of(cell: &CellRef) -> String {
    let CellRef { component, regime, flow, to } = cell;
    format!("[`{component}` {regime}, {} -> {to}] ", flow.name())
}

const fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Law => "law",
        Basis::Guidance => "guidance",
        Basis::Contract => "contract",
        Basis::House => "house",
    }
}

/// Stands for a place, a site or a dataset that is not known.
pub(crate) const UNKNOWN: &str = "?";
