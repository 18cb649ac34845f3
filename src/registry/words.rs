//! The closed words of the registry, and what somebody may have meant.
//!
//! The words are those of the policies' vocabulary, compiled in: one list, so that whatever is registered is a word that a
//! rule can know. What a rule makes of it is the policy's business.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

/// Kinds of words.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// What a data component can be under.
    Regime,
    /// The same, and what applies by party and accelerator.
    AnyRegime,
    Category,
    /// One of the vocabulary's plain lists, by its name.
    Term(&'static str),
    GroundType,
}

/// A type of ground: the regime it serves, and the keys of `details` without which it is not live.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct GroundType {
    pub regime: String,
    #[serde(default)]
    pub details: Vec<String>,
}

pub(super) fn ground_type(name: &str) -> Option<&'static GroundType> {
    WORDS.grounds.get(name)
}

/// All words of a kind.
pub(super) fn known(kind: Known) -> impl Iterator<Item = &'static str> + Clone {
    let words: &[String] = match kind {
        Known::Regime => &WORDS.regimes,
        Known::AnyRegime => &WORDS.any_regimes,
        Known::Category => &WORDS.categories,
        Known::GroundType => &WORDS.ground_types,
        Known::Term(list) => WORDS.terms.get(list).map_or(&[], Vec::as_slice),
    };
    words.iter().map(String::as_str)
}

/// The candidate nearest to `text`, if it is near enough to be a slip.
pub(super) fn meant<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let slips_max = text.chars().count().div_ceil(3).clamp(1, 3);
    let lower = text.to_ascii_lowercase();
    let slips = |candidate: &str| match candidate.split_once(':') {
        Some((_, name)) if name == text => 0, // only the prefix was left out
        _ => distance(&lower, &candidate.to_ascii_lowercase()),
    };
    candidates
        .into_iter()
        .map(|candidate| (slips(candidate), candidate))
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `: did you mean ..?`, or nothing.
pub(super) fn hint<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    meant(text, candidates).map_or_else(String::new, |word| format!(": did you mean `{word}`?"))
}

/// Levenshtein's distance in characters.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut corner = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (right, above) in to.iter().zip(row.iter().skip(1)) {
            let cost = (corner + usize::from(left != *right)).min(above + 1).min(before + 1);
            corner = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

struct Words {
    regimes: Vec<String>,
    any_regimes: Vec<String>,
    categories: Vec<String>,
    terms: BTreeMap<String, Vec<String>>,
    ground_types: Vec<String>,
    grounds: BTreeMap<String, GroundType>,
}

/// As the vocabulary is written; other keys of it are the policy's.
#[derive(Default, Deserialize)]
struct Vocabulary {
    regimes: BTreeMap<String, toml::Table>,
    categories: BTreeMap<String, String>,
    /// By the name of the list.
    terms: BTreeMap<String, Vec<String>>,
    grounds: BTreeMap<String, GroundType>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    // It was compiled in and is read by a test; if it could not be read, every word would be unknown and refused.
    let read: Vocabulary =
        toml::from_str(include_str!("../../policies/vocabulary.toml")).unwrap_or_default();
    let regimes: Vec<String> = read.regimes.into_keys().collect();
    let mut any_regimes = regimes.clone();
    any_regimes.extend(read.grounds.values().map(|ground| ground.regime.clone()));
    any_regimes.sort();
    any_regimes.dedup();
    Words {
        regimes,
        any_regimes,
        categories: read.categories.into_keys().collect(),
        terms: read.terms,
        ground_types: read.grounds.keys().cloned().collect(),
        grounds: read.grounds,
    }
});
