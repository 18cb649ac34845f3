//! The closed vocabulary and the groups of places: `vocabulary.toml` and `groups.csv` become parts of the book.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use verdict::decision::Text;
use verdict::place::{is_place, not_a_place};
use verdict::question::Role;
use verdict::rule::{
    Check, Detail, Every, GroundType, Group, Limits, Mark, Mode, Obligation, Regime, Threshold,
    Vocabulary,
};
use verdict::stamp::Stamp;

use super::cases::line_of;
use super::fault::{Fault, Faults, nearest};
use super::pack::is_hangul;
use super::sheet::{self, Section, SheetRow};

/// `vocabulary.toml`, read.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub regimes: Vec<Regime>,
    pub vocabulary: Vocabulary,
    pub limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    regimes: BTreeMap<String, RegimeEntry>,
    terms: Terms,
    sets: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    purpose_sets: BTreeMap<String, Vec<String>>,
    limits: LimitsEntry,
    grounds: BTreeMap<String, GroundEntry>,
    categories: BTreeMap<String, String>,
    #[serde(default)]
    thresholds: Vec<Threshold>,
    #[serde(default)]
    obligations: BTreeMap<String, Spanned<ObligationEntry>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObligationEntry {
    en: String,
    ko: String,
    source: String,
    mark: Mark,
    every: Every,
    #[serde(default)]
    due_days: Option<u16>,
    #[serde(default)]
    check: Option<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegimeEntry {
    mode: Mode,
    territory: String,
    requires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    sectors: Vec<String>,
    supervisors: Vec<String>,
    laws: Vec<String>,
    schemes: Vec<String>,
    measures: Vec<String>,
    purposes: Vec<String>,
    #[serde(default)]
    impersonal: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsEntry {
    tia_age_days: u16,
    check_age_days: u16,
    attestation_age_s: u32,
    exposure_share: u8,
    control_share: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroundEntry {
    regime: String,
    #[serde(default)]
    details: Vec<Detail>,
    #[serde(default)]
    onward_details: Vec<Detail>,
    #[serde(default)]
    never_roles: Vec<Role>,
    #[serde(default)]
    to_subject: bool,
}

/// Reads `vocabulary.toml`.
pub(crate) fn read(text: &str, faults: &mut Faults<'_>) -> Option<Words> {
    let file: File = toml(text, faults)?;
    check(&file, text, faults);
    let regimes = file.regimes.into_iter().map(|(id, entry)| Regime {
        id,
        mode: entry.mode,
        territory: Some(entry.territory),
        requires: entry.requires,
    });
    let grounds = file.grounds.into_iter().map(|(id, entry)| GroundType {
        id,
        regime: entry.regime,
        details: entry.details,
        onward_details: entry.onward_details,
        never_roles: entry.never_roles,
        to_subject: entry.to_subject,
    });
    let limits = file.limits;
    Some(Words {
        regimes: regimes.collect(),
        limits: Limits {
            tia_age_s: i64::from(limits.tia_age_days) * DAY_S,
            check_age_s: i64::from(limits.check_age_days) * DAY_S,
            attestation_age_s: i64::from(limits.attestation_age_s),
            exposure_share: limits.exposure_share,
            control_share: limits.control_share,
            thresholds: file.thresholds,
        },
        vocabulary: Vocabulary {
            categories: file.categories.keys().cloned().collect(),
            broader: file
                .categories
                .into_iter()
                .filter(|(_, broader)| !broader.is_empty())
                .collect(),
            category_sets: file.sets,
            impersonal: file.terms.impersonal,
            purpose_sets: file.purpose_sets,
            purposes: file.terms.purposes,
            sectors: file.terms.sectors,
            supervisors: file.terms.supervisors,
            laws: file.terms.laws,
            schemes: file.terms.schemes,
            measures: file.terms.measures,
            grounds: grounds.collect(),
            obligations: file.obligations.into_iter().map(obligation).collect(),
        },
    })
}

fn obligation((id, entry): (String, Spanned<ObligationEntry>)) -> Obligation {
    let ObligationEntry { en, ko, source, mark, every, due_days, check } = entry.into_inner();
    Obligation { id, text: Text { en, ko }, source, mark, every, due_days, check }
}

fn check_obligations(file: &File, text: &str, faults: &mut Faults<'_>) {
    for (id, spanned) in &file.obligations {
        let (entry, line) = (spanned.as_ref(), line_of(text, spanned.span().start));
        if id.contains(char::is_whitespace) || id.contains(',') || id == "-" {
            let mend = "write it as rows do, as `FSS_REPORT`";
            faults.add(line, format!("`{id}` cannot be a code in a row"), mend);
        }
        if entry.en.trim().is_empty() || !entry.ko.chars().any(is_hangul) {
            let mend = "write what is to be done: `en` in English, `ko` in Korean";
            faults.add(line, format!("obligation `{id}` lacks a text in both languages"), mend);
        }
        if entry.source.trim().is_empty() {
            let mend = "write the article, notice or decision that it rests on";
            faults.add(line, format!("obligation `{id}` has no source"), mend);
        }
        if entry.check == Some(Check::AccessLog) && entry.every == Every::Once {
            let mend = "write `every = \"month\"` or `\"year\"`: what serves once has no time that a log could cover";
            faults.add(line, format!("obligation `{id}` is never over for its access log"), mend);
        }
        if let Some(Check::Ground { r#type, .. }) = &entry.check
            && !file.grounds.contains_key(r#type)
        {
            let known = file.grounds.keys().map(String::as_str);
            faults.unknown(line, "ground", r#type, known, "write a ground of `[grounds]`");
        }
    }
}

fn check(file: &File, text: &str, faults: &mut Faults<'_>) {
    let line = |word: &str| line_of_word(text, word);
    let categories = || file.categories.keys().map(String::as_str);
    let mend = "write a category of `[categories]`";
    for broader in file.categories.values().filter(|broader| !broader.is_empty()) {
        if !file.categories.contains_key(broader) {
            faults.unknown(line(broader), "category", broader, categories(), mend);
        }
    }
    for member in file.purpose_sets.values().flatten() {
        if !file.terms.purposes.contains(member) {
            let known = file.terms.purposes.iter().map(String::as_str);
            faults.unknown(line(member), "purpose", member, known, "write a purpose of `[terms]`");
        }
    }
    for member in file.sets.values().flatten().chain(&file.terms.impersonal) {
        if !file.categories.contains_key(member) {
            faults.unknown(line(member), "category", member, categories(), mend);
        }
    }
    check_obligations(file, text, faults);
    for entry in file.grounds.values() {
        // export control has grounds, but no component is under it
        if entry.regime != "EAR" && !file.regimes.contains_key(&entry.regime) {
            let known = file.regimes.keys().map(String::as_str);
            faults.unknown(
                line(&entry.regime),
                "regime",
                &entry.regime,
                known,
                "write a regime of `[regimes]`",
            );
        }
    }
}

/// The line on which a word stands in quotes; the whole file where it is not found.
fn line_of_word(text: &str, word: &str) -> usize {
    let quoted = format!("\"{word}\"");
    text.lines().position(|line| line.contains(&quoted)).map_or(0, |index| index + 1)
}

/// Reads `groups.csv`. Rows that share everything but their place become one group entry.
pub(crate) fn read_groups(text: &str, regimes: &[Regime], faults: &mut Faults<'_>) -> Vec<Group> {
    let mut entries: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    let mut sound: Vec<SheetRow> = Vec::new();
    for row in sheet::read(text, GROUPS, faults) {
        if group_row_is_sound(&row, regimes, faults) && !overlaps(&row, &sound, faults) {
            sound.push(row.clone());
            let mut key = row.cells.clone();
            let place = key.remove(PLACE);
            entries.entry(key).or_default().insert(place);
        }
    }
    let group = |(key, places): (Vec<String>, BTreeSet<String>)| {
        let [id, regime, from, until, mark, citation] = key.as_slice() else { return None };
        let open = |text: &String| Stamp::parse(text).ok();
        Some(Group {
            id: id.clone(),
            regime: regime.clone(),
            places: places.into_iter().collect(),
            from: open(from),
            until: open(until),
            mark: read_mark(mark)?,
            citation: citation.clone(),
        })
    };
    entries.into_iter().filter_map(group).collect()
}

fn group_row_is_sound(row: &SheetRow, regimes: &[Regime], faults: &mut Faults<'_>) -> bool {
    let before = faults.found.len();
    let [_, regime, place, from, until, mark, _] = row.cells.as_slice() else { return false };
    let known = || regimes.iter().map(|regime| regime.id.as_str());
    if regime != "*" && !known().any(|id| id == regime) {
        faults.unknown(
            row.line,
            "regime",
            regime,
            known(),
            "write a regime of vocabulary.toml, or `*`",
        );
    }
    if !is_place(place) {
        let mend = "write an ISO 3166-1 or 3166-2 code in capitals, as `KR` or `KR-11`";
        faults.add(row.line, not_a_place(place), mend);
    }
    for stamp in [from, until] {
        instant(row.line, stamp, faults);
    }
    let (begins, ends) = span(row);
    if ends <= begins {
        let mend = "write the earlier one as `from`: such a row would never count";
        faults.add(row.line, format!("`{until}` is not after `{from}`"), mend);
    }
    if read_mark(mark).is_none() {
        faults.unknown(row.line, "mark", mark, MARKS.into_iter(), "write `V`, `M` or `V/M`");
    }
    faults.found.len() == before
}

/// The place stands in the group already for a part of the same time: which of two dates, marks and sources would count?
fn overlaps(row: &SheetRow, earlier: &[SheetRow], faults: &mut Faults<'_>) -> bool {
    let same = |one: &&SheetRow| one.cells.get(..=PLACE) == row.cells.get(..=PLACE);
    let (from, until) = span(row);
    let meets = |one: &&SheetRow| {
        let (began, ended) = span(one);
        from < ended && began < until
    };
    let Some(first) = earlier.iter().filter(same).find(meets) else { return false };
    let found = format!(
        "`{}` is in `{}` for this time on line {} already",
        row.cell(PLACE),
        row.cell(0),
        first.line
    );
    faults.add(row.line, found, "remove one of the two, or end one before the other begins");
    true
}

/// First second in the group, first second out of it.
fn span(row: &SheetRow) -> (i64, i64) {
    let at = |column: usize| Stamp::parse(row.cell(column)).ok().map(|stamp| stamp.starts());
    (at(PLACE + 1).unwrap_or(i64::MIN), at(PLACE + 2).unwrap_or(i64::MAX))
}

/// `-` or an instant with its zone: a bare date would begin at midnight in London, wherever the law is.
fn instant(line: usize, text: &str, faults: &mut Faults<'_>) {
    if text != "-" && (Stamp::parse(text).is_err() || !text.contains('T')) {
        faults.add(
            line,
            format!("`{text}` is no instant with a zone"),
            "write midnight where the law is, as `2025-09-16T00:00:00+09:00`, or `-` for open",
        );
    }
}

fn read_mark(text: &str) -> Option<Mark> {
    match text {
        "V" => Some(Mark::V),
        "M" => Some(Mark::M),
        "V/M" => Some(Mark::VM),
        _ => None,
    }
}

/// Reads TOML into a type that knows all its keys; a fault has the line.
pub(crate) fn toml<T: DeserializeOwned>(text: &str, faults: &mut Faults<'_>) -> Option<T> {
    match toml::from_str(text) {
        Ok(read) => Some(read),
        Err(error) => {
            let line = error.span().map_or(0, |span| line_of(text, span.start));
            let found = error.message().trim_end_matches('.').to_owned();
            let meant = meant(&found).map(str::to_owned);
            let mend = "see policies/README.md for what stands in this file".to_owned();
            faults.found.push(Fault { file: faults.file.to_owned(), line, found, meant, mend });
            None
        }
    }
}

/// Of a key or word that is not expected: the nearest of those that are.
fn meant(message: &str) -> Option<&str> {
    let (unknown, expected) = message.split_once(", expected ")?;
    let word = unknown.strip_prefix("unknown ")?.split_once('`')?.1.strip_suffix('`')?;
    nearest(word, expected.split('`').skip(1).step_by(2))
}

const GROUPS: &[Section] = &[Section {
    name: "g",
    columns: &["id", "regime", "place", "from", "until", "mark", "citation"],
}];
/// Index of the column `place`.
const PLACE: usize = 2;
const MARKS: [&str; 3] = ["V", "M", "V/M"];
const DAY_S: i64 = 86_400;
