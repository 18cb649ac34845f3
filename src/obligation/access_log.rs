//! A provider's log of its own people's access, as it delivers it: read strictly, and held against what the log says was allowed
//! to run there. An entry is explained by the decision that it names, while that ran and an hour after; every other is listed.
//!
//! *Invariant:* pure. Nothing is explained by silence: an entry without a decision, or outside the file's own span, is listed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use verdict::stamp::Stamp;

/// What was delivered. Persons and what they did stay in the file: they are read by people, not kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub provider: String,
    pub site: String,
    /// Unix seconds: what the file says it covers, from the one on and before the other.
    pub from: i64,
    pub until: i64,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    line: usize,
    at: i64,
    decision: Option<Uuid>,
}

/// When a decision ran: Unix seconds; no end is known of one that is under way or whose end was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    pub from: i64,
    pub until: Option<i64>,
}

/// An entry that the log does not explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unexplained {
    /// Of the file, from 1.
    pub line: usize,
    /// Unix seconds.
    pub at: i64,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It names no decision.
    NoDecision,
    /// It names one that the log did not allow for this organisation and service at this site.
    NotAllowed,
    /// It names one that did not run then.
    NotThen,
    /// It lies outside what the file says it covers.
    OutsideFile,
}

/// Why a file was not read. Nothing was compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Unreadable {
    pub line: usize,
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    provider: String,
    site: String,
    from: String,
    until: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: String,
    /// Whom and what: for people.
    #[serde(rename = "person")]
    _person: String,
    #[serde(rename = "what")]
    _what: String,
    decision: Option<Uuid>,
}

/// Reads a delivered file: UTF-8, a JSON object a line, the first says of what it is.
///
/// # Errors
/// The first line that is not what it should be.
pub fn read(bytes: &[u8]) -> Result<Delivered, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        Unreadable { line, what: "it is no UTF-8 text".to_owned() }
    })?;
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let head = lines.next().unwrap_or((1, ""));
    let mut delivered = head_of(head.1).map_err(|what| Unreadable { line: 1, what })?;
    for (line, text) in lines {
        let entry = entry(line, text).map_err(|what| Unreadable { line, what })?;
        let before = delivered.entries.last().map_or(i64::MIN, |before| before.at);
        if entry.at < before {
            let what = "it is earlier than the line before: entries stand in the order of time";
            return Err(Unreadable { line, what: what.to_owned() });
        }
        if delivered.entries.len() >= ENTRIES_MAX {
            let what = "more than 1,000,000 entries: deliver shorter spans".to_owned();
            return Err(Unreadable { line, what });
        }
        delivered.entries.push(entry);
    }
    Ok(delivered)
}

fn head_of(text: &str) -> Result<Delivered, String> {
    let head: Head = serde_json::from_str(text).map_err(|error| {
        format!("the first line says what the file is of (`format`, `provider`, `site`, `from`, `until`): {}", short(&error))
    })?;
    if head.format != FORMAT {
        return Err(format!("the format `{}` is not known: write `{FORMAT}`", head.format));
    }
    let (from, until) = (instant(&head.from)?, instant(&head.until)?);
    if until <= from {
        return Err("it ends (`until`) before it begins (`from`)".to_owned());
    }
    let (provider, site) = (head.provider, head.site);
    Ok(Delivered { provider, site, from, until, entries: Vec::new() })
}

fn entry(line: usize, text: &str) -> Result<Entry, String> {
    let read: Line = serde_json::from_str(text).map_err(|error| {
        format!(
            "an entry is an object with `at`, `person`, `what` and perhaps `decision`: {}",
            short(&error)
        )
    })?;
    Ok(Entry { line, at: instant(&read.at)?, decision: read.decision })
}

/// Of the parser's message only the kind: what stands in the line is not repeated.
fn short(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            format!("other keys or values at column {}", error.column())
        }
        _ => format!("no JSON at column {}", error.column()),
    }
}

fn instant(text: &str) -> Result<i64, String> {
    let whole = text.contains('T').then(|| Stamp::parse(text).ok()).flatten();
    let stamp = whole.ok_or("an instant is written like `2026-11-05T09:12:44Z`")?;
    Ok(stamp.starts())
}

impl Delivered {
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The decisions that it names, each once.
    #[must_use]
    pub fn decisions(&self) -> Vec<Uuid> {
        let mut all: Vec<Uuid> = self.entries.iter().filter_map(|entry| entry.decision).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether it covers all from the one instant on and before the other.
    #[must_use]
    pub const fn covers(&self, from: i64, until: i64) -> bool {
        self.from <= from && until <= self.until
    }

    /// The entries that these decisions do not explain, in order.
    #[must_use]
    pub fn unexplained(&self, ran: &BTreeMap<Uuid, Ran>) -> Vec<Unexplained> {
        let wrong = |entry: &Entry| {
            let why = self.why(entry, ran)?;
            Some(Unexplained { line: entry.line, at: entry.at, why })
        };
        self.entries.iter().filter_map(wrong).collect()
    }

    fn why(&self, entry: &Entry, ran: &BTreeMap<Uuid, Ran>) -> Option<Why> {
        if !(self.from..self.until).contains(&entry.at) {
            return Some(Why::OutsideFile);
        }
        let Some(decision) = entry.decision else { return Some(Why::NoDecision) };
        let Some(ran) = ran.get(&decision) else { return Some(Why::NotAllowed) };
        let end = ran.until.unwrap_or(ran.from).saturating_add(AFTER_S);
        let then = ran.from.saturating_sub(SKEW_S)..=end;
        (!then.contains(&entry.at)).then_some(Why::NotThen)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoDecision => "it names no decision",
            Self::NotAllowed => {
                "the log allowed no such decision of this organisation and service at this site"
            }
            Self::NotThen => "the decision that it names did not run then",
            Self::OutsideFile => "it lies outside what the file says it covers",
        })
    }
}

const FORMAT: &str = "haetae-provider-access-v1";
/// A busy site's month; about 150 MB.
const ENTRIES_MAX: usize = 1_000_000;
/// Clocks of two houses, and the way of a request.
const SKEW_S: i64 = 60;
/// Whoever looks after a job does so soon.
const AFTER_S: i64 = 3_600;

#[cfg(test)]
mod tests {
    //! Proves that only what names a decision that ran then is explained, and that a file that is odd is not read.

    use super::*;

    const HEAD: &str = r#"{"format":"haetae-provider-access-v1","provider":"kr-op","site":"kr-seo-1","from":"2026-11-01T00:00:00Z","until":"2026-12-01T00:00:00Z"}"#;

    fn file(lines: &[String]) -> Vec<u8> {
        let mut text = vec![HEAD.to_owned()];
        text.extend_from_slice(lines);
        text.join("\n").into_bytes()
    }

    fn at(text: &str) -> i64 {
        Stamp::parse(text).unwrap().starts()
    }

    #[test]
    fn an_entry_is_explained_by_the_decision_that_ran_then_and_by_nothing_else() {
        let [done, lost, other] = [1, 2, 3].map(Uuid::from_u128);
        let from = at("2026-11-05T09:00:00Z");
        let ran = BTreeMap::from([
            (done, Ran { from, until: Some(from + 600) }),
            (lost, Ran { from, until: None }),
        ]);
        let named = |seconds: i64, decision: Option<Uuid>| {
            let at = Stamp::at(from + seconds).unwrap();
            let decision = decision.map(|id| format!(",\"decision\":\"{id}\"")).unwrap_or_default();
            format!("{{\"at\":\"{at}\",\"person\":\"p-1\",\"what\":\"login\"{decision}}}")
        };
        for (seconds, decision, why) in [
            (0, Some(done), None),
            (-60, Some(done), None),
            (-61, Some(done), Some(Why::NotThen)),
            (600 + 3_600, Some(done), None),
            (600 + 3_601, Some(done), Some(Why::NotThen)),
            (3_600, Some(lost), None),
            (3_601, Some(lost), Some(Why::NotThen)),
            (0, Some(other), Some(Why::NotAllowed)),
            (0, None, Some(Why::NoDecision)),
            (40 * 86_400, Some(done), Some(Why::OutsideFile)),
            (-10 * 86_400, None, Some(Why::OutsideFile)),
        ] {
            let delivered = read(&file(&[named(seconds, decision)])).unwrap();
            let found: Vec<(usize, Why)> =
                delivered.unexplained(&ran).iter().map(|one| (one.line, one.why)).collect();
            assert_eq!(found, why.map(|why| (2, why)).into_iter().collect::<Vec<_>>(), "{seconds}");
        }
        let delivered = read(&file(&[named(0, Some(done)), named(1, Some(done)), named(2, None)]));
        let delivered = delivered.unwrap();
        assert_eq!((delivered.count(), delivered.decisions()), (3, vec![done]));
        assert!(delivered.covers(at("2026-11-01"), at("2026-12-01")));
        assert!(!delivered.covers(at("2026-11-01"), at("2026-12-01") + 1));
        assert!(read(&file(&[])).unwrap().unexplained(&ran).is_empty(), "nobody was there");
    }

    #[test]
    fn a_file_that_is_odd_is_not_read_and_nothing_of_it_is_repeated() {
        let entry = r#"{"at":"2026-11-05T09:00:00Z","person":"secret","what":"login"}"#;
        let early = entry.replace("05T", "04T");
        for (text, line, part) in [
            (String::new(), 1, "the first line says what the file is of"),
            (HEAD.replace("-v1", "-v2"), 1, "write `haetae-provider-access-v1`"),
            (HEAD.replace("2026-12-01T", "2026-10-01T"), 1, "before it begins"),
            (HEAD.replace("2026-12-01T00:00:00Z", "2026-12-01"), 1, "an instant is written like"),
            (format!("{HEAD}\n{entry}\n{early}"), 3, "in the order of time"),
            (format!("{HEAD}\n\n{entry}"), 2, "no JSON"),
            (format!("{HEAD}\n{}", entry.replace("what", "waht")), 2, "other keys or values"),
            (format!("{HEAD}\n{}", entry.replace('}', ",\"decision\":\"7\"}")), 2, "other keys"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.line == line && error.what.contains(part), "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let odd = [HEAD.as_bytes(), b"\n\xff"].concat();
        assert_eq!(read(&odd).unwrap_err().line, 2);
    }
}
