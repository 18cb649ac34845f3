//! One pack: the rows, texts and cases of a folder under `packs/`. Adding a pack needs no Rust.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;
use verdict::atom::Atom;
use verdict::decision::{Flow, Text};
use verdict::place::{is_place, not_a_place};
use verdict::question::Profile;
use verdict::rule::{Basis, Group, Kind, Mark, Out, Row, RuleText};
use verdict::stamp::Stamp;

use super::cases::{self, Case, line_of};
use super::fault::Faults;
use super::sheet::{self, Section, SheetRow, listed};
use super::vocabulary::{Words, toml};

/// A pack, read.
#[derive(Debug)]
pub(crate) struct Pack {
    pub head: Head,
    pub rules: Vec<RuleText>,
    pub rows: Vec<Row>,
    pub cases: Vec<Case>,
    /// Rule or row id to its line, for messages that come later.
    pub lines: BTreeMap<String, (String, usize)>,
}

/// `pack.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub name: String,
    pub title: Text,
    /// Regimes that it covers; one that no pack covers is refused.
    pub regimes: Vec<String>,
    pub reviewed_on: Stamp,
    /// The rule that is named beside every missing fact.
    #[serde(default)]
    pub missing_rule: Option<String>,
}

/// One table of `texts.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    en: String,
    ko: String,
    citation: String,
    basis: Vec<Basis>,
    mark: Mark,
    /// Absent: it holds at any time, as what has no date of its own.
    #[serde(default)]
    from: Option<Stamp>,
    #[serde(default)]
    until: Option<Stamp>,
    reviewed_on: Stamp,
    /// How many persons must agree to release what the rule holds.
    #[serde(default)]
    persons: Option<u8>,
}

/// The four files of a pack.
pub(crate) struct Files<'a> {
    pub folder: &'a str,
    pub head: &'a str,
    pub rules: &'a str,
    pub texts: &'a str,
    pub cases: &'a str,
}

/// What rows may name.
pub(crate) struct Known<'a> {
    pub words: &'a Words,
    pub groups: &'a [Group],
}

pub(crate) fn read(
    files: &Files<'_>,
    known: &Known<'_>,
    found: &mut Vec<super::fault::Fault>,
) -> Option<Pack> {
    let path = |name: &str| format!("packs/{}/{name}", files.folder);
    let (head_path, texts_path) = (path("pack.toml"), path("texts.toml"));
    let head: Option<Head> = toml(files.head, &mut Faults { file: &head_path, found });
    let mut lines = BTreeMap::new();
    let rules = read_texts(files.texts, &mut Faults { file: &texts_path, found })?;
    let rules: Vec<RuleText> = rules
        .into_iter()
        .map(|(line, rule)| {
            lines.insert(rule.id.clone(), (texts_path.clone(), line));
            rule
        })
        .collect();
    let rows = read_rows(&path("rules.csv"), files.rules, &rules, known, found, &mut lines);
    let cases_path = path("cases.toml");
    let mut faults = Faults { file: &cases_path, found };
    let cases = cases::read(files.folder, files.cases, &mut faults);
    for case in &cases {
        let rule = case.rule.as_deref().unwrap_or_default();
        if !rules.iter().any(|known| known.id == rule) {
            let ids = rules.iter().map(|rule| rule.id.as_str());
            faults.unknown(case.line, "rule", rule, ids, "name a rule of this pack");
        }
    }
    for rule in &rules {
        if !cases.iter().any(|case| case.rule.as_ref() == Some(&rule.id)) {
            let mend = "write one that it decides, with a twin that differs by one fact";
            faults.add(0, format!("rule `{}` has no case", rule.id), mend);
        }
    }
    check_head(head.as_ref()?, files, known, &mut Faults { file: &head_path, found });
    Some(Pack { head: head?, rules, rows, cases, lines })
}

fn check_head(head: &Head, files: &Files<'_>, known: &Known<'_>, faults: &mut Faults<'_>) {
    if head.name != files.folder {
        let mend = format!("write `{}`", files.folder);
        faults.add(1, format!("name `{}` is not that of the folder", head.name), mend);
    }
    let regimes = || known.words.regimes.iter().map(|regime| regime.id.as_str());
    for regime in head.regimes.iter().filter(|id| !regimes().any(|known| known == id.as_str())) {
        faults.unknown(0, "regime", regime, regimes(), "write a regime of vocabulary.toml");
    }
}

fn read_texts(text: &str, faults: &mut Faults<'_>) -> Option<Vec<(usize, RuleText)>> {
    let entries: BTreeMap<String, Spanned<Entry>> = toml(text, faults)?;
    let mut rules = Vec::new();
    for (id, spanned) in entries {
        let line = line_of(text, spanned.span().start);
        let entry = spanned.into_inner();
        if entry.en.is_empty() || !entry.ko.chars().any(is_hangul) || entry.basis.is_empty() {
            let mend = "write `en`, `ko` in Korean, and at least one `basis`";
            faults.add(
                line,
                format!("rule `{id}` lacks a text in both languages or a basis"),
                mend,
            );
        }
        if entry.citation.trim().is_empty() {
            let mend = "write the article, notice or decision that it rests on";
            faults.add(line, format!("rule `{id}` has no citation"), mend);
        }
        if let (Some(from), Some(until)) = (&entry.from, &entry.until)
            && until.ends() <= from.starts()
        {
            let mend = "write the later one as `until`: such a rule would never be in force";
            faults.add(
                line,
                format!("rule `{id}` ends (`{until}`) before it begins (`{from}`)"),
                mend,
            );
        }
        for stamp in entry.from.iter().chain(&entry.until) {
            if !stamp.as_str().contains('T') {
                let mend = "write midnight where the law is, as `2025-09-16T00:00:00+09:00`";
                faults.add(line, format!("`{stamp}` has no zone"), mend);
            }
        }
        let rule = RuleText {
            id,
            basis: entry.basis,
            text: Text { en: entry.en, ko: entry.ko },
            citation: entry.citation,
            mark: entry.mark,
            from: entry.from,
            until: entry.until,
            reviewed_on: Some(entry.reviewed_on),
            persons: entry.persons,
        };
        rules.push((line, rule));
    }
    Some(rules)
}

pub(super) fn is_hangul(char: char) -> bool {
    ('\u{ac00}'..='\u{d7a3}').contains(&char)
}

fn read_rows(
    file: &str,
    text: &str,
    rules: &[RuleText],
    known: &Known<'_>,
    found: &mut Vec<super::fault::Fault>,
    lines: &mut BTreeMap<String, (String, usize)>,
) -> Vec<Row> {
    let mut faults = Faults { file, found };
    let mut rows = Vec::new();
    for cells in sheet::read(text, RULES, &mut faults) {
        let before = faults.found.len();
        let row = read_row(&cells, rules, known, &mut faults);
        let id = cells.cell(0).to_owned();
        if let Some((_, first)) = lines.get(&id) {
            let mend = "give each row a number of its own";
            faults.add(cells.line, format!("row `{id}` stands on line {first} already"), mend);
        }
        lines.insert(id, (file.to_owned(), cells.line));
        if faults.found.len() == before {
            rows.extend(row);
        }
    }
    rows
}

fn read_row(
    cells: &SheetRow,
    rules: &[RuleText],
    known: &Known<'_>,
    faults: &mut Faults<'_>,
) -> Option<Row> {
    let line = cells.line;
    let [id, kind, out, regime, flow, to, when, obligations, profiles] = cells.cells.as_slice()
    else {
        return None;
    };
    let number = id.rsplit_once('/').and_then(|(rule, number)| Some((rule, number.parse().ok()?)));
    let Some((rule, number)) = number else {
        faults.add(line, format!("id `{id}`"), "write the rule and the row's number, as `R04/1`");
        return None;
    };
    let ids = || rules.iter().map(|rule| rule.id.as_str());
    if !ids().any(|known| known == rule) {
        faults.unknown(line, "rule", rule, ids(), "give it a text in texts.toml");
    }
    check_place(line, regime, flow, to, known, faults);
    for literal in words(when) {
        check_literal(line, literal, known, faults);
    }
    for code in words(obligations) {
        let codes = || known.words.vocabulary.obligations.iter().map(|one| one.id.as_str());
        if !codes().any(|known| known == code) {
            let mend =
                "write a code of `[obligations]` in vocabulary.toml, or say there what it means";
            faults.unknown(line, "obligation", code, codes(), mend);
        }
    }
    let kind = one_of(line, "kind", kind, &KINDS, faults);
    let out = one_of(line, "outcome", out, &OUTS, faults);
    let mut chosen = Vec::new();
    for name in words(profiles).filter(|name| *name != "*") {
        chosen.extend(one_of(line, "profile", name, &PROFILES, faults));
    }
    if profiles == "*" {
        chosen = PROFILES.map(|(_, profile)| profile).to_vec();
    }
    Some(Row {
        rule: rule.to_owned(),
        number,
        kind: kind?,
        out: out?,
        regime: regime.clone(),
        flow: flow.clone(),
        to: to.clone(),
        when: words(when).map(str::to_owned).collect(),
        obligations: words(obligations).map(str::to_owned).collect(),
        profiles: chosen,
    })
}

/// The words of a list cell; `-` is the empty list.
fn words(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(' ').filter(|word| !word.is_empty() && *word != "-")
}

fn one_of<T: Copy>(
    line: usize,
    what: &str,
    text: &str,
    choices: &[(&str, T)],
    faults: &mut Faults<'_>,
) -> Option<T> {
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names = choices.iter().map(|(name, _)| *name);
        let mend = format!("write {}", listed(names.clone()));
        faults.unknown(line, what, text, names, mend);
    }
    found
}

fn check_place(
    line: usize,
    regime: &str,
    flow: &str,
    to: &str,
    known: &Known<'_>,
    faults: &mut Faults<'_>,
) {
    let regimes = known.words.regimes.iter().map(|regime| regime.id.as_str());
    if regime != "*" && !regimes.clone().any(|id| id == regime) {
        faults.unknown(
            line,
            "regime",
            regime,
            regimes,
            "write a regime of vocabulary.toml, or `*`",
        );
    }
    let flows = Flow::ALL.map(Flow::name);
    if flow != "*" && !flows.contains(&flow) {
        let mend = format!("write `*` or {}", listed(flows.into_iter()));
        faults.unknown(line, "flow", flow, flows.into_iter(), mend);
    }
    let areas: BTreeSet<&str> =
        known.groups.iter().map(|group| group.id.as_str()).chain(["home", "abroad", "*"]).collect();
    if !is_place(to) && !areas.contains(to) {
        let mend = "write a place, a group of groups.csv, `home`, `abroad` or `*`";
        if to.len() == 2 {
            return faults.add(line, not_a_place(to), mend);
        }
        faults.unknown(line, "place", to, areas.into_iter(), mend);
    }
}

/// A predicate, with the words of its argument that are easiest to misspell. The rulebook checks all others.
fn check_literal(line: usize, literal: &str, known: &Known<'_>, faults: &mut Faults<'_>) {
    let word = literal.strip_prefix('!').unwrap_or(literal);
    if Atom::parse(word).is_err() {
        let mend = "see the list of predicates in policies/README.md";
        return faults.unknown(line, "predicate", word, PREDICATES.into_iter(), mend);
    }
    let Some((noun, argument, choices, mend)) = argument(word, known) else { return };
    if !choices.iter().any(|choice| choice == argument) {
        faults.unknown(line, noun, argument, choices.iter().map(String::as_str), mend);
    }
}

/// What a predicate names, and the words that it may name: noun, word, choices, where they stand. `None` where the argument is
/// of a closed list of the program's own, which reading it has checked.
fn argument<'w>(
    word: &'w str,
    known: &Known<'_>,
) -> Option<(&'static str, &'w str, Vec<String>, &'static str)> {
    let (head, argument) = word.split_once(':')?;
    let (vocabulary, limits) = (&known.words.vocabulary, &known.words.limits);
    let of = |list: &[String]| list.to_vec();
    let predicate = head.split_once('.').map_or(head, |(_, predicate)| predicate);
    Some(match (head, predicate) {
        ("cat", _) => (
            "category",
            argument,
            of(&vocabulary.categories),
            "write a category of vocabulary.toml",
        ),
        ("cat_in", _) => (
            "set",
            argument,
            vocabulary.category_sets.keys().cloned().collect(),
            "write a set of `[sets]` in vocabulary.toml",
        ),
        ("purpose_in", _) => (
            "set",
            argument,
            vocabulary.purpose_sets.keys().cloned().collect(),
            "write a set of `[purpose_sets]` in vocabulary.toml",
        ),
        ("certificate", _) => (
            "scheme",
            argument.strip_suffix(">=system_grade")?,
            of(&vocabulary.schemes),
            "write a scheme of vocabulary.toml",
        ),
        ("volume", _) => (
            "threshold",
            argument,
            limits.thresholds.iter().map(|one| one.id.clone()).collect(),
            "write a threshold of vocabulary.toml",
        ),
        ("ground", _) => {
            let kinds = vocabulary.grounds.iter().map(|kind| kind.id.clone()).collect();
            (
                "ground",
                argument.split('/').next().unwrap_or(argument),
                kinds,
                "write a ground of vocabulary.toml",
            )
        }
        ("to" | "keys.in", _) | (_, "seat" | "ultimate" | "covered" | "exposed" | "outside") => (
            "place",
            argument,
            places(argument, known),
            "write a place, a group of groups.csv, `home` or `abroad`",
        ),
        (_, "sector") => {
            ("sector", argument, of(&vocabulary.sectors), "write a sector of vocabulary.toml")
        }
        (_, "supervised_by") => (
            "supervisor",
            argument,
            of(&vocabulary.supervisors),
            "write a supervisor of vocabulary.toml",
        ),
        (_, "regulated_under") => {
            ("law", argument, of(&vocabulary.laws), "write a law of vocabulary.toml")
        }
        _ => return None,
    })
}

/// What a predicate may name as a place: any of ISO 3166, or a group.
fn places(argument: &str, known: &Known<'_>) -> Vec<String> {
    let own = known.groups.iter().map(|group| group.id.clone());
    let near = ["home", "abroad"].map(str::to_owned);
    own.chain(near).chain(is_place(argument).then(|| argument.to_owned())).collect()
}

const RULES: &[Section] = &[Section {
    name: "p",
    columns: &["id", "kind", "out", "regime", "flow", "to", "when", "obligations", "profiles"],
}];
const KINDS: [(&str, Kind); 2] = [("permit", Kind::Permit), ("restrict", Kind::Restrict)];
const OUTS: [(&str, Out); 4] =
    [("allow", Out::Allow), ("oblige", Out::Oblige), ("hold", Out::Hold), ("deny", Out::Deny)];
const PROFILES: [(&str, Profile); 2] =
    [("statutory", Profile::Statutory), ("sovereign", Profile::Sovereign)];
/// Spellings to offer for a predicate that cannot be read.
const PREDICATES: [&str; 26] = [
    "to:KR",
    "cat:pd:General",
    "cat_in:hr",
    "class>=restricted",
    "component.encrypted",
    "component.stored",
    "component.state_funded",
    "identifiability:personal",
    "workload:train",
    "role:provision",
    "origins.unlisted",
    "purpose.recurring",
    "purpose_in:hr",
    "volume:US.bulk",
    "purpose.third_country_order",
    "recipient.dpf",
    "recipient.dpf_hr",
    "recipient.baa",
    "tee.affirming",
    "keys.in_use",
    "keys.in_origin",
    "order:suspend",
    "order:prohibit",
    "order:restrict",
    "order:hold",
    "ground:kr.consent",
];
