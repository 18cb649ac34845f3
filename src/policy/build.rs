//! From the files of a bundle to its parts: every file read, every name resolved, all faults collected.

use std::collections::BTreeMap;

use serde::Deserialize;
use verdict::Rulebook;
use verdict::rule::{Book, Mark, Mode, RuleText};
use verdict::stamp::Stamp;

use super::access::Sheets;
use super::bundle::{ACCESS, CANARY, RESIDENCY};
use super::cases::{self, AccessCase, Canaries, Case, Retired};
use super::fault::{BundleError, Fault, Faults};
use super::folder::Folder;
use super::model;
use super::pack::{self, Files, Known, Pack};
use super::vocabulary::{self, Words, toml};

/// What a bundle is made of, before engines.
pub(crate) struct Parts {
    pub rulebook: Rulebook,
    pub sheets: Sheets,
    pub cases: Vec<Case>,
    pub access_cases: Vec<AccessCase>,
    pub retired: Vec<Retired>,
    pub notices: Vec<String>,
    pub warnings: Vec<String>,
}

/// `bundle.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    version: String,
    dated: Stamp,
    packs: Vec<String>,
    review: String,
}

pub(crate) fn parts(folder: &Folder, at_unix_s: i64) -> Result<Parts, BundleError> {
    let mut found = Vec::new();
    let parts = read(folder, at_unix_s, &mut found);
    found.sort();
    found.dedup();
    match parts {
        Some(parts) if found.is_empty() => Ok(parts),
        _ => Err(BundleError { faults: found }),
    }
}

fn read(folder: &Folder, at_unix_s: i64, found: &mut Vec<Fault>) -> Option<Parts> {
    let text = folder.text(MANIFEST, found);
    let manifest: Manifest = toml(text, &mut Faults { file: MANIFEST, found })?;
    folder.strangers(&manifest.packs, found);
    let models = [(RESIDENCY, model::RESIDENCY), (ACCESS, model::ACCESS)];
    for (file, shape) in models {
        let text = folder.text(file, found);
        model::check(text, &shape, &mut Faults { file, found });
    }
    let text = folder.text(WORDS, found);
    let mut words = vocabulary::read(text, &mut Faults { file: WORDS, found })?;
    let text = folder.text(GROUPS, found);
    let groups = vocabulary::read_groups(text, &words.regimes, &mut Faults { file: GROUPS, found });
    let mut packs = Vec::new();
    for (index, name) in manifest.packs.iter().enumerate() {
        if manifest.packs.iter().take(index).any(|earlier| earlier == name) {
            let mut faults = Faults { file: MANIFEST, found };
            faults.add(0, format!("pack `{name}` is listed twice"), "remove one of the two");
            continue;
        }
        let known = Known { words: &words, groups: &groups };
        packs.extend(read_pack(folder, name, &known, found));
    }
    let sheets = read_access(folder, found);
    let text = folder.text(CANARIES, found);
    let Canaries { cases: mut all_cases, access: access_cases, retired } =
        cases::read_canaries(CANARY, text, &mut Faults { file: CANARIES, found });
    all_cases.extend(packs.iter_mut().flat_map(|pack| std::mem::take(&mut pack.cases)));
    let mut warnings = uncovered(&mut words, &packs);
    // a pack that could not be read would be missed by all others: what is wrong with it comes first
    if packs.len() < manifest.packs.len() {
        return None;
    }
    let rulebook = bind(&manifest, words, groups, &packs, found)?;
    warnings.extend(ageing(&rulebook.book().rules, at_unix_s));
    let notices = notices(&manifest, &packs, &rulebook, &sheets);
    Some(Parts { rulebook, sheets, cases: all_cases, access_cases, retired, notices, warnings })
}

fn read_pack(
    folder: &Folder,
    name: &str,
    known: &Known<'_>,
    found: &mut Vec<Fault>,
) -> Option<Pack> {
    let mut text = |file: &str| folder.text(&format!("packs/{name}/{file}"), found).to_owned();
    let (head, rules, texts, cases) =
        (text("pack.toml"), text("rules.csv"), text("texts.toml"), text("cases.toml"));
    let files = Files { folder: name, head: &head, rules: &rules, texts: &texts, cases: &cases };
    pack::read(&files, known, found)
}

fn read_access(folder: &Folder, found: &mut Vec<Fault>) -> Sheets {
    let mut sheets = Sheets::default();
    for required in ["access/floor.csv", "access/roles.csv"] {
        folder.text(required, found);
    }
    for (path, name, text) in folder.in_folder("access", ".csv") {
        sheets.read(path, name, text, found);
    }
    sheets
}

/// A regime that no pack covers is judged as `transfer` with nothing that permits: a floor without its rules would pass
/// everything.
fn uncovered(words: &mut Words, packs: &[Pack]) -> Vec<String> {
    let mut warnings = Vec::new();
    for regime in &mut words.regimes {
        if packs.iter().any(|pack| pack.head.regimes.contains(&regime.id)) {
            continue;
        }
        regime.mode = Mode::Transfer;
        regime.requires = None;
        warnings.push(format!(
            "no pack covers the regime {}: every flow of data under it is refused",
            regime.id
        ));
    }
    warnings
}

fn bind(
    manifest: &Manifest,
    words: Words,
    groups: Vec<verdict::rule::Group>,
    packs: &[Pack],
    found: &mut Vec<Fault>,
) -> Option<Rulebook> {
    let mut missing = packs.iter().filter_map(|pack| pack.head.missing_rule.clone());
    let missing_rule = missing.next();
    if missing.next().is_some() {
        let mut faults = Faults { file: MANIFEST, found };
        faults.add(0, "two packs name a `missing_rule`", "keep one of the two packs");
    }
    let rows = packs.iter().flat_map(|pack| pack.rows.clone());
    let book = Book {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        reviewed_on: packs
            .iter()
            .map(|pack| pack.head.reviewed_on.clone())
            .min_by_key(Stamp::starts),
        missing_rule,
        regimes: words.regimes,
        groups,
        rules: packs.iter().flat_map(|pack| pack.rules.clone()).collect(),
        rows: rows
            .map(|mut row| {
                row.when.sort();
                row
            })
            .collect(),
        vocabulary: words.vocabulary,
        limits: words.limits,
    };
    match Rulebook::new(book) {
        Ok(rulebook) => Some(rulebook),
        Err(error) => {
            let lines: BTreeMap<&String, &(String, usize)> =
                packs.iter().flat_map(|pack| &pack.lines).collect();
            found.extend(error.problems.into_iter().map(|problem| locate(problem, &lines)));
            None
        }
    }
}

/// Finds the line of a problem that names its row (`row R04/2: ...`) or its rule (`` rule `R04` ... ``).
fn locate(problem: String, lines: &BTreeMap<&String, &(String, usize)>) -> Fault {
    let id = problem
        .strip_prefix("row ")
        .and_then(|rest| rest.split_once(':'))
        .or_else(|| problem.strip_prefix("rule `").and_then(|rest| rest.split_once('`')))
        .map(|(id, _)| id.to_owned());
    let place = id.and_then(|id| lines.get(&id).copied());
    let whole = if problem.starts_with("group ") { GROUPS } else { MANIFEST };
    let (file, line) = place.cloned().unwrap_or_else(|| (whole.to_owned(), 0));
    let (found, mend) = match problem.split_once(": write ") {
        Some((found, mend)) => (found.to_owned(), format!("write {mend}")),
        None => (problem, "see policies/README.md".to_owned()),
    };
    Fault { file, line, found, meant: None, mend }
}

fn ageing(rules: &[RuleText], at_unix_s: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    for rule in rules {
        if let Some(until) = rule.until.as_ref().filter(|until| until.ends() <= at_unix_s) {
            warnings.push(format!("rule {} is closed since {until}", rule.id));
        }
        if let Some(from) = rule.from.as_ref().filter(|from| from.starts() > at_unix_s) {
            warnings.push(format!("rule {} is not in force before {from}", rule.id));
        }
        let reviewed = rule.reviewed_on.as_ref();
        if let Some(on) = reviewed.filter(|on| on.starts() + REVIEW_AGE_S < at_unix_s) {
            warnings.push(format!("rule {} was last reviewed on {on}, over 180 days ago", rule.id));
        }
    }
    warnings
}

fn notices(
    manifest: &Manifest,
    packs: &[Pack],
    rulebook: &Rulebook,
    sheets: &Sheets,
) -> Vec<String> {
    let book = rulebook.book();
    let unverified: Vec<&str> = book
        .rules
        .iter()
        .filter(|rule| rule.mark != Mark::V)
        .map(|rule| rule.id.as_str())
        .collect();
    let mut notices = vec![format!(
        "bundle {} {}, dated {}: {}",
        manifest.name, manifest.version, manifest.dated, manifest.review
    )];
    for pack in packs {
        notices.push(format!(
            "pack {}, {} ({}): {} rules, {} rows, reviewed on {}",
            pack.head.name,
            pack.head.title.en,
            pack.head.title.ko,
            pack.rules.len(),
            pack.rows.len(),
            pack.head.reviewed_on,
        ));
    }
    notices.push(format!(
        "{} groups of places, {} categories, {} types of ground, {} access sheets",
        book.groups.iter().map(|group| &group.id).collect::<std::collections::BTreeSet<_>>().len(),
        book.vocabulary.categories.len(),
        book.vocabulary.grounds.len(),
        sheets.len(),
    ));
    if !unverified.is_empty() {
        notices.push(format!("unverified (from memory, or partly): {}", unverified.join(", ")));
    }
    notices
}

const MANIFEST: &str = "bundle.toml";
const WORDS: &str = "vocabulary.toml";
const GROUPS: &str = "groups.csv";
const CANARIES: &str = "canary.toml";
/// A pack is looked at again twice a year.
const REVIEW_AGE_S: i64 = 180 * 86_400;
