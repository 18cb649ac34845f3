//! What a caller declares about its data, in headers (`Haetae-Datasets`) and at home in the body (`haetae.datasets`).
//!
//! Identifiers are ASCII allow-lists: what does not fit is refused, never folded or trimmed into shape.
//!
//! *Invariant:* a header and a body that differ are never merged.

use std::sync::Arc;

use hyper::http::{HeaderMap, HeaderValue};
use verdict::reason::Reason;

use super::{NotUnderstood, Output};

/// Everything declared in one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// Sorted, without duplicates.
    pub datasets: Option<Vec<Arc<str>>>,
    pub purpose: Option<Arc<str>>,
    pub output: Option<Output>,
    pub no_data: Option<bool>,
    pub site: Option<Arc<str>>,
}

/// One thing that can be declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Datasets,
    Purpose,
    Output,
    NoData,
    Site,
}

/// Reads the `Haetae-*` headers. Names of the gateway's own answers are ignored (the gate drops them); any other
/// unknown one is refused, because a misspelt declaration must not become none.
pub fn from_headers(head: &HeaderMap) -> Result<Declared, NotUnderstood> {
    let mut declared = Declared::default();
    for (name, value) in head {
        let Some(rest) = name.as_str().strip_prefix("haetae-") else { continue };
        if ANSWERS.contains(&rest) {
            continue;
        }
        let field =
            FIELDS.into_iter().find(|field| field.header().eq_ignore_ascii_case(name.as_str()));
        let field = field.ok_or_else(|| {
            invalid(format!(
                "this `haetae-` header is not known: known are {}",
                list(Field::header)
            ))
        })?;
        let text = HeaderValue::to_str(value)
            .map_err(|_| invalid("the value must be ascii").of(field.header()))?;
        declared.put(field, text, field.header())?;
    }
    Ok(declared)
}

impl Declared {
    /// Takes one declaration, written as text, under the name `param`.
    pub fn put(
        &mut self,
        field: Field,
        text: &str,
        param: &'static str,
    ) -> Result<(), NotUnderstood> {
        let fresh = match field {
            Field::Datasets => self.datasets.replace(datasets(text).ok_or_else(|| {
                invalid(format!(
                    "give 1 to {DATASETS_MAX} different dataset ids such as `kr-med/ct-2026` or `orders@1`, with commas between them"
                ))
                .of(param)
            })?).is_none(),
            Field::Purpose => self.purpose.replace(term(text).ok_or_else(|| {
                invalid("give one purpose code such as `dpv:ServiceProvision`").of(param)
            })?).is_none(),
            Field::Output => self.output.replace(output(text).ok_or_else(|| {
                invalid("give one of `aggregate`, `model`, `raw`").of(param)
            })?).is_none(),
            Field::NoData => self.no_data.replace(flag(text).ok_or_else(|| {
                invalid("give `true` or `false`").of(param)
            })?).is_none(),
            Field::Site => self.site.replace(site(text).ok_or_else(|| {
                invalid("give one site id such as `kr-seo-1`").of(param)
            })?).is_none(),
        };
        if fresh { Ok(()) } else { Err(invalid("this was declared more than once").of(param)) }
    }

    /// Joins what the headers and the body say.
    pub fn agree(self, body: Self) -> Result<Self, NotUnderstood> {
        let joined = Self {
            datasets: one(self.datasets, body.datasets, Field::Datasets)?,
            purpose: one(self.purpose, body.purpose, Field::Purpose)?,
            output: one(self.output, body.output, Field::Output)?,
            no_data: one(self.no_data, body.no_data, Field::NoData)?,
            site: one(self.site, body.site, Field::Site)?,
        };
        if joined.no_data == Some(true) && joined.datasets.is_some() {
            let message = "datasets are declared and no data is declared: leave one of them out";
            return Err(conflict(message).of(Field::NoData.header()));
        }
        Ok(joined)
    }
}

impl Field {
    pub const fn header(self) -> &'static str {
        match self {
            Self::Datasets => "Haetae-Datasets",
            Self::Purpose => "Haetae-Purpose",
            Self::Output => "Haetae-Output",
            Self::NoData => "Haetae-No-Data",
            Self::Site => "Haetae-Site",
        }
    }

    pub const fn key(self) -> &'static str {
        match self {
            Self::Datasets => "haetae.datasets",
            Self::Purpose => "haetae.purpose",
            Self::Output => "haetae.output",
            Self::NoData => "haetae.no_data",
            Self::Site => "haetae.site",
        }
    }

    pub fn of_key(key: &str) -> Option<Self> {
        FIELDS.into_iter().find(|field| field.key() == key)
    }
}

/// The names of all fields, for a message.
pub fn list(name: fn(Field) -> &'static str) -> String {
    FIELDS.map(|field| format!("`{}`", name(field))).join(", ")
}

/// A name made of ASCII letters, digits and `extra`, that begins with a letter or digit, has no empty or dotted-out
/// segment (`//`, `..`), does not end in `/` and is at most `max` bytes long.
pub fn is_name(text: &str, extra: &[u8], max: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || extra.contains(&byte);
    text.len() <= max
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(fits)
        && !text.contains("//")
        && !text.contains("..")
        && !text.ends_with('/')
}

fn one<T: PartialEq>(
    header: Option<T>,
    body: Option<T>,
    field: Field,
) -> Result<Option<T>, NotUnderstood> {
    match (header, body) {
        (Some(header), Some(body)) if header != body => {
            let message = format!(
                "the header `{}` and the key `{}` of `metadata` differ: send one of them, or the same in both",
                field.header(),
                field.key()
            );
            Err(conflict(message).of(field.header()))
        }
        (header, body) => Ok(header.or(body)),
    }
}

fn datasets(text: &str) -> Option<Vec<Arc<str>>> {
    let mut ids = Vec::new();
    for id in text.split(',') {
        let id = id.trim_matches([' ', '\t']);
        if ids.len() == DATASETS_MAX || !is_dataset(id) {
            return None;
        }
        ids.push(Arc::from(id));
    }
    let given = ids.len();
    ids.sort_unstable();
    ids.dedup();
    (ids.len() == given).then_some(ids)
}

/// `[a-z0-9][a-z0-9._/-]*(@version)?`
fn is_dataset(id: &str) -> bool {
    let (name, version) = id.split_once('@').unwrap_or((id, "1"));
    id.len() <= ID_MAX
        && !id.bytes().any(|byte| byte.is_ascii_uppercase())
        && is_name(name, b"._/-", ID_MAX)
        && is_name(version, b"._-", ID_MAX)
}

/// A DPV term with its prefix, `dpv:ServiceProvision`.
fn term(text: &str) -> Option<Arc<str>> {
    let (prefix, name) = text.split_once(':').unwrap_or(("dpv", text));
    (is_name(prefix, b"-", TERM_MAX) && is_name(name, b"._-", TERM_MAX)).then(|| Arc::from(text))
}

fn output(text: &str) -> Option<Output> {
    match text {
        "aggregate" => Some(Output::Aggregate),
        "model" => Some(Output::Model),
        "raw" => Some(Output::Raw),
        _ => None,
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn site(text: &str) -> Option<Arc<str>> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (lower && is_name(text, b"._-", SITE_MAX)).then(|| Arc::from(text))
}

fn invalid(message: impl Into<String>) -> NotUnderstood {
    NotUnderstood::new(400, Reason::DeclarationInvalid, message)
}

fn conflict(message: impl Into<String>) -> NotUnderstood {
    NotUnderstood::new(400, Reason::DeclarationConflict, message)
}

const FIELDS: [Field; 5] =
    [Field::Datasets, Field::Purpose, Field::Output, Field::NoData, Field::Site];

/// Headers that the gateway itself sets, after `haetae-`: a caller's are worth nothing and are dropped by the gate.
const ANSWERS: [&str; 6] = ["receipt", "leaf", "decision", "bundle", "hold", "site-request-id"];

/// Datasets of one request. Their ids stand in the leaf (<= 1,200 bytes), which audit checks; 16 short ones fit.
const DATASETS_MAX: usize = 16;

/// Bytes of a dataset id with its version.
const ID_MAX: usize = 128;

/// Bytes of each half of a purpose code. The longest DPV purpose has 49.
const TERM_MAX: usize = 64;

/// Bytes of a site id: one DNS label.
const SITE_MAX: usize = 63;
