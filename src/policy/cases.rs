//! The cases of a pack: questions with the answers they must get. A bundle whose cases do not pass is not usable.
//!
//! A case is a base question with changes; its twin changes one fact more and has another outcome, which shows that this
//! fact is the one that decides.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use verdict::decision::{Decision, Outcome, Why};
use verdict::question::Question;
use verdict::reason::Reason;

use super::bundle::CANARY;
use super::change::{Complaint, json, set};
use super::fault::Faults;
use super::rulebook::word;
use super::vocabulary::toml;

/// One question and what must come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The folder of its pack; `canary` for a canary of the bundle.
    pub pack: String,
    pub name: String,
    /// The rule it belongs to; absent for canaries.
    pub rule: Option<String>,
    pub(crate) question: Question,
    expected: Expected,
    pub(crate) line: usize,
}

/// A case judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    pub pack: String,
    pub name: String,
    /// Absent when the case passed: what was expected and what came.
    pub failure: Option<String>,
    pub(crate) line: usize,
}

#[derive(Debug, Clone)]
struct Expected {
    outcome: Outcome,
    /// A rule that must stand in the reasons.
    by: Option<String>,
    code: Option<Reason>,
    /// `flow place`, the cell of that reason.
    cell: Option<String>,
    obligations: Option<Vec<String>>,
}

/// `cases.toml` and `canary.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    base: BTreeMap<String, toml::Table>,
    #[serde(default)]
    case: Vec<Spanned<Entry>>,
    /// Only in `canary.toml`.
    #[serde(default)]
    access: Vec<Spanned<AccessEntry>>,
    /// Only in `canary.toml`.
    #[serde(default)]
    retired: Vec<Spanned<Retired>>,
}

/// A canary of the bundle that this one replaces, which need not pass any more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// Its name.
    pub canary: String,
    pub why: String,
}

/// What stands in `canary.toml`.
#[derive(Debug, Default)]
pub(crate) struct Canaries {
    pub cases: Vec<Case>,
    pub access: Vec<AccessCase>,
    pub retired: Vec<Retired>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessEntry {
    name: String,
    org: String,
    roles: Vec<String>,
    service: String,
    operation: String,
    expect: Leave,
    /// The row that refuses.
    #[serde(default)]
    by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Leave {
    Allow,
    Deny,
}

/// A question to the access half of a bundle and its answer.
#[derive(Debug, Clone)]
pub(crate) struct AccessCase {
    pub name: String,
    pub org: String,
    pub roles: Vec<String>,
    pub service: String,
    pub operation: String,
    expect: Leave,
    by: Option<String>,
    line: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    rule: Option<String>,
    base: String,
    #[serde(default)]
    change: BTreeMap<String, toml::Value>,
    expect: Outcome,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    code: Option<Reason>,
    #[serde(default)]
    cell: Option<String>,
    #[serde(default)]
    obligations: Option<Vec<String>>,
    #[serde(default)]
    twin: Option<Twin>,
}

/// The same facts but one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Twin {
    name: String,
    change: BTreeMap<String, toml::Value>,
    expect: Outcome,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    code: Option<Reason>,
    #[serde(default)]
    cell: Option<String>,
    #[serde(default)]
    obligations: Option<Vec<String>>,
}

/// Reads the cases of a pack: each must name its rule and have a twin.
pub(crate) fn read(pack: &str, text: &str, faults: &mut Faults<'_>) -> Vec<Case> {
    let Some(file) = toml::<File>(text, faults) else { return Vec::new() };
    for entry in &file.access {
        let line = line_of(text, entry.span().start);
        faults.add(line, "an access case in a pack", "write it into canary.toml");
    }
    for entry in &file.retired {
        let line = line_of(text, entry.span().start);
        faults.add(line, "a retired canary in a pack", "write it into canary.toml");
    }
    make_all(pack, text, &file, true, faults)
}

/// Reads the canaries of a bundle: at least one question and one caller that must pass, and one of each that must not.
pub(crate) fn read_canaries(pack: &str, text: &str, faults: &mut Faults<'_>) -> Canaries {
    let Some(file) = toml::<File>(text, faults) else { return Canaries::default() };
    let cases = make_all(pack, text, &file, false, faults);
    let retired = read_retired(text, &file, faults);
    let access: Vec<AccessCase> = file
        .access
        .into_iter()
        .map(|entry| {
            let line = line_of(text, entry.span().start);
            let AccessEntry { name, org, roles, service, operation, expect, by } =
                entry.into_inner();
            AccessCase { name, org, roles, service, operation, expect, by, line }
        })
        .collect();
    let outcomes = |want: Outcome| cases.iter().any(|case| case.expected.outcome == want);
    let leaves = |want: Leave| access.iter().any(|case| case.expect == want);
    if !(outcomes(Outcome::Allow)
        && outcomes(Outcome::Deny)
        && leaves(Leave::Allow)
        && leaves(Leave::Deny))
    {
        let mend = "write a `[[case]]` and an `[[access]]` that must be allowed, and one of each that must be denied";
        faults.add(0, "the canaries do not sing both ways", mend);
    }
    Canaries { cases, access, retired }
}

fn read_retired(text: &str, file: &File, faults: &mut Faults<'_>) -> Vec<Retired> {
    let own = |name: &str| {
        file.case.iter().any(|case| case.get_ref().name == name)
            || file.access.iter().any(|case| case.get_ref().name == name)
    };
    for (number, spanned) in file.retired.iter().enumerate() {
        let (one, line) = (spanned.get_ref(), line_of(text, spanned.span().start));
        let same = |other: &&Spanned<Retired>| other.get_ref().canary == one.canary;
        if file.retired.iter().take(number).any(|other| same(&other)) {
            faults.add(
                line,
                format!("canary `{}` is retired twice", one.canary),
                "remove one of the two",
            );
        }
        if one.why.trim().is_empty() {
            let mend = "say why, in one sentence: approvers read it and it is recorded";
            faults.add(line, format!("canary `{}` is retired without a reason", one.canary), mend);
        }
        if own(&one.canary) {
            let mend = "remove the case, or do not retire it";
            faults.add(line, format!("canary `{}` is retired and stands here", one.canary), mend);
        }
    }
    file.retired.iter().map(|spanned| spanned.get_ref().clone()).collect()
}

fn make_all(
    pack: &str,
    text: &str,
    file: &File,
    twins: bool,
    faults: &mut Faults<'_>,
) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for spanned in &file.case {
        let line = line_of(text, spanned.span().start);
        match make(pack, line, &file.base, spanned.get_ref(), twins) {
            Ok(made) => cases.extend(made),
            Err((found, mend)) => faults.add(line, found, mend),
        }
    }
    for (index, case) in cases.iter().enumerate() {
        if cases.iter().take(index).any(|earlier| earlier.name == case.name) {
            faults.add(case.line, format!("two cases are called `{}`", case.name), "rename one");
        }
    }
    cases
}

fn make(
    pack: &str,
    line: usize,
    bases: &BTreeMap<String, toml::Table>,
    entry: &Entry,
    twins: bool,
) -> Result<Vec<Case>, Complaint> {
    let base = bases.get(&entry.base).ok_or_else(|| {
        let mend = format!("write a table `[base.{}]`", entry.base);
        (format!("base `{}` does not stand in this file", entry.base), mend)
    })?;
    let mut facts = json(base)?;
    for (path, value) in &entry.change {
        set(&mut facts, path, json(value)?)?;
    }
    let by = entry.by.clone().or_else(|| entry.rule.clone());
    let case = |name: &str, facts: &Value, expected| {
        let question = question(name, facts)?;
        Ok::<_, Complaint>(Case {
            pack: pack.to_owned(),
            name: name.to_owned(),
            rule: entry.rule.clone(),
            question,
            expected,
            line,
        })
    };
    let mut made = vec![case(
        &entry.name,
        &facts,
        Expected {
            outcome: entry.expect,
            by,
            code: entry.code,
            cell: entry.cell.clone(),
            obligations: entry.obligations.clone(),
        },
    )?];
    let Some(twin) = &entry.twin else {
        if twins {
            let mend = "give it a twin that differs by one fact and has another outcome";
            return Err((format!("case `{}` has no twin", entry.name), mend.to_owned()));
        }
        return Ok(made);
    };
    if twin.change.len() != 1 || twin.expect == entry.expect {
        let mend = "change exactly one fact, and expect another outcome than the case's";
        return Err((format!("`{}` is no twin of `{}`", twin.name, entry.name), mend.to_owned()));
    }
    for (path, value) in &twin.change {
        set(&mut facts, path, json(value)?)?;
    }
    made.push(case(
        &twin.name,
        &facts,
        Expected {
            outcome: twin.expect,
            by: twin.by.clone(),
            code: twin.code,
            cell: twin.cell.clone(),
            obligations: twin.obligations.clone(),
        },
    )?);
    Ok(made)
}

fn question(name: &str, facts: &Value) -> Result<Question, Complaint> {
    let mut question: Question = serde_json::from_value(facts.clone()).map_err(|error| {
        (format!("`{name}` is no question: {error}"), "write it as a question's JSON".to_owned())
    })?;
    question.id = Some(name.to_owned());
    Ok(question)
}

impl AccessCase {
    /// Compares an answer with what the case expects.
    pub(crate) fn compare(&self, got: &Result<(), Why>) -> CaseResult {
        let rule = got.as_ref().err().and_then(|why| why.rule.clone());
        let right = got.is_ok() == (self.expect == Leave::Allow)
            && self.by.as_ref().is_none_or(|by| rule.as_ref() == Some(by));
        let failure = (!right).then(|| match got {
            Ok(()) => "expected a refusal, got leave".to_owned(),
            Err(why) => format!("got {}", reason_line(why)),
        });
        CaseResult { pack: CANARY.to_owned(), name: self.name.clone(), failure, line: self.line }
    }
}

impl Case {
    /// The question of the case could not be judged.
    pub(crate) fn not_judged(&self, problem: &str) -> CaseResult {
        CaseResult {
            pack: self.pack.clone(),
            name: self.name.clone(),
            failure: Some(format!("it cannot be judged: {problem}")),
            line: self.line,
        }
    }

    /// Compares a decision with what the case expects.
    pub(crate) fn compare(&self, got: &Decision) -> CaseResult {
        let want = &self.expected;
        let decided = want.by.is_none() && want.code.is_none() && want.cell.is_none()
            || got.reasons.iter().any(|why| {
                let cell = why.cell.as_ref().map(|cell| {
                    let flow = serde_json::to_value(cell.flow).unwrap_or_default();
                    format!("{} {}", flow.as_str().unwrap_or_default(), cell.to)
                });
                want.by.as_ref().is_none_or(|by| why.rule.as_ref() == Some(by))
                    && want.code.is_none_or(|code| why.code == code)
                    && want.cell.as_ref().is_none_or(|want| cell.as_ref() == Some(want))
            });
        let owed = want.obligations.as_ref().is_none_or(|list| *list == got.obligations);
        let failure = (got.outcome != want.outcome || !decided || !owed).then(|| {
            let reasons: Vec<String> = got.reasons.iter().map(reason_line).collect();
            format!(
                "expected {}, got {} by {}{}",
                expected_line(want),
                word(&got.outcome),
                reasons.join("; "),
                if owed { String::new() } else { format!(", obligations {:?}", got.obligations) },
            )
        });
        CaseResult { pack: self.pack.clone(), name: self.name.clone(), failure, line: self.line }
    }
}

fn expected_line(want: &Expected) -> String {
    let mut line = word(&want.outcome);
    for (label, value) in [("by", &want.by), ("in", &want.cell)] {
        if let Some(value) = value {
            line = format!("{line} {label} {value}");
        }
    }
    if let Some(code) = &want.code {
        line = format!("{line} as {}", word(code));
    }
    line
}

fn reason_line(why: &Why) -> String {
    let mut line = word(&why.code);
    if let Some(rule) = &why.rule {
        line = format!("{line} {rule}");
    }
    if let Some(cell) = &why.cell {
        line = format!("{line} in {} {} {}", cell.regime, word(&cell.flow), cell.to);
    }
    if !why.missing.is_empty() {
        line = format!("{line} missing {}", why.missing.join(", "));
    }
    line
}

/// The line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
