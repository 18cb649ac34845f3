//! A located value is held against its shape and becomes a canonical document; every fault is kept, none stops.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value as Json};

use super::{
    Sort,
    shape::{Kind, Shape},
    source::{Member, Node, Value},
    text, words,
};

/// One fault: file, line, and a sentence that says what was meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    /// From 1; 0 when it is the file itself that is at fault.
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// An id that must be registered for the document to make sense.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub file: String,
    pub line: usize,
    pub sort: Sort,
    pub id: String,
}

/// What is collected while documents are read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub problems: Vec<Problem>,
    pub references: Vec<Reference>,
    /// No problem repeats what was written: it came with a request, and what is said of it stands in the log.
    pub quiet: bool,
}

/// Reads the documents of one file.
pub(super) struct Check<'a> {
    pub file: &'a str,
    /// Certificates by the name of their file.
    pub pems: &'a BTreeMap<String, String>,
    pub found: &'a mut Found,
    /// Where the value that is being read stands in its document (RFC 6901).
    pub pointer: String,
    /// On which line each key of the document stands, by pointer.
    pub lines: BTreeMap<String, usize>,
}

impl Check<'_> {
    /// The document and the lines of its keys, as far as it could be read: whoever keeps it looks at the problems first.
    pub(super) fn document(
        &mut self,
        shape: &Shape,
        value: &Value,
    ) -> (Json, BTreeMap<String, usize>) {
        self.lines.clear();
        self.lines.insert(String::new(), value.line);
        let document = self.table(shape, value);
        (document, std::mem::take(&mut self.lines))
    }

    fn table(&mut self, shape: &Shape, value: &Value) -> Json {
        let Node::Table(members) = &value.node else {
            self.wrong(value.line, format!("{} must be a table", shape.noun));
            return Json::Null;
        };
        let mut document = Map::new();
        for member in members {
            match shape.keys().find(|key| key.name == member.key) {
                Some(key) => {
                    let read = self.within(&member.key, member.line, &key.kind, &member.value);
                    document.insert(member.key.clone(), read);
                }
                None => self.unknown(shape, member),
            }
        }
        for key in shape.keys().filter(|key| key.must && !document.contains_key(key.name)) {
            let empty = if matches!(key.kind, Kind::List(_)) { " (`[]` for none)" } else { "" };
            self.wrong(value.line, format!("{} needs `{}`{empty}", shape.noun, key.name));
        }
        Json::Object(document)
    }

    pub(super) fn wrong(&mut self, line: usize, text: String) {
        self.found.problems.push(Problem { file: self.file.to_owned(), line, text });
    }

    /// The value of a key, whose line is kept.
    fn within(&mut self, key: &str, line: usize, kind: &Kind, value: &Value) -> Json {
        let before = self.enter(key, line);
        let read = self.value(kind, value, key);
        self.pointer.truncate(before);
        read
    }

    fn items(&mut self, kind: &Kind, items: &[Value], name: &str) -> Json {
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let before = self.enter(&index.to_string(), item.line);
            list.push(self.value(kind, item, name));
            self.pointer.truncate(before);
        }
        Json::Array(list)
    }

    /// Steps into a segment; gives the pointer's length before.
    fn enter(&mut self, segment: &str, line: usize) -> usize {
        let before = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(segment);
        self.lines.insert(self.pointer.clone(), line);
        before
    }

    fn unknown(&mut self, shape: &Shape, member: &Member) {
        if self.found.quiet {
            let known: Vec<&str> = shape.keys().map(|key| key.name).collect();
            let text = format!("unknown key in {}: it has {}", shape.noun, known.join(", "));
            return self.wrong(member.line, text);
        }
        let hint = words::hint(&member.key, shape.keys().map(|key| key.name));
        self.wrong(member.line, format!("unknown key `{}` in {}{hint}", member.key, shape.noun));
    }

    fn value(&mut self, kind: &Kind, value: &Value, name: &str) -> Json {
        match (kind, &value.node) {
            (Kind::List(item), Node::List(items)) => self.items(item, items, name),
            (Kind::List(item), Node::Cell(cell)) => {
                Json::Array(self.cells(item, cell, value, name))
            }
            (Kind::Table(shape) | Kind::NameOr(shape), Node::Table(_)) => self.table(shape, value),
            (Kind::Flag, Node::Flag(flag)) => Json::Bool(*flag),
            (Kind::Whole(max), Node::Whole(number)) => {
                self.whole(*max, u64::try_from(*number).ok(), value.line, name)
            }
            (Kind::List(_) | Kind::Table(_) | Kind::Flag | Kind::Whole(_), Node::Text(_)) => {
                self.not(kind, value, name)
            }
            (Kind::Flag, Node::Cell(cell)) => match cell.as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => self.not(kind, value, name),
            },
            (Kind::Whole(max), Node::Cell(cell)) => {
                self.whole(*max, cell.parse().ok(), value.line, name)
            }
            (_, Node::Text(text) | Node::Cell(text)) => self.text(kind, text, value, name),
            _ => self.not(kind, value, name),
        }
    }

    /// A list in a CSV cell: items are parted by `;`, and `-` is the empty list.
    fn cells(&mut self, item: &Kind, cell: &str, at: &Value, name: &str) -> Vec<Json> {
        if cell == "-" {
            return Vec::new();
        }
        let entry = |text: &str| Value { line: at.line, node: Node::Cell(text.to_owned()) };
        cell.split(';').map(|text| self.value(item, &entry(text), name)).collect()
    }

    fn whole(&mut self, max: u64, number: Option<u64>, line: usize, name: &str) -> Json {
        if let Some(number) = number.filter(|number| *number <= max) {
            return Json::from(number);
        }
        self.wrong(line, format!("`{name}` must be a whole number from 0 to {max}"));
        Json::Null
    }

    fn text(&mut self, kind: &Kind, text: &str, value: &Value, name: &str) -> Json {
        let quiet = self.found.quiet;
        let read = match kind {
            Kind::Text(reader) => reader(text).map(Json::String),
            Kind::NameOr(_) => text::id(text).map(Json::String),
            Kind::Word(words, _) if quiet && !words.contains(&text) => {
                Err(format!("this is not known: write one of {}", words.join(", ")))
            }
            Kind::Word(words, any) => word(text, words.iter().copied(), *any, name),
            Kind::Known(known, any) => word(text, words::known(*known), *any, name),
            Kind::End if text == "never" => Ok(Json::Null),
            Kind::End => {
                let read = if quiet { text::date } else { text::stamp };
                read(text).map(Json::String).map_err(|fault| format!("{fault}, or `never`"))
            }
            Kind::Refer(_, true) if text == "*" => Ok(Json::from(text)),
            Kind::Refer(sort, _) => {
                self.found.references.push(Reference {
                    file: self.file.to_owned(),
                    line: value.line,
                    sort: *sort,
                    id: text.to_owned(),
                });
                Ok(Json::from(text))
            }
            Kind::Pem => self.pem(text),
            Kind::Whole(_) | Kind::Flag | Kind::List(_) | Kind::Table(_) => {
                return self.not(kind, value, name);
            }
        };
        read.unwrap_or_else(|fault| {
            self.wrong(value.line, format!("`{name}`: {fault}"));
            Json::Null
        })
    }

    fn pem(&self, name: &str) -> Result<Json, String> {
        use rustls_pki_types::{CertificateDer, pem::PemObject as _};
        let Some(text) = self.pems.get(name) else {
            let hint = words::hint(name, self.pems.keys().map(String::as_str));
            return Err(format!("there is no file `{name}` in this directory{hint}"));
        };
        let mut certificates = 0;
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            certificate.map_err(|fault| format!("`{name}` is not PEM: {fault}"))?;
            certificates += 1;
        }
        if certificates == 0 {
            return Err(format!("`{name}` holds no certificate in PEM"));
        }
        Ok(Json::from(text.as_str()))
    }

    fn not(&mut self, kind: &Kind, value: &Value, name: &str) -> Json {
        let wanted = match kind {
            Kind::Whole(_) => "a whole number",
            Kind::Flag => "`true` or `false`",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::NameOr(_) => "a name or a table",
            _ => "a text",
        };
        let got = match &value.node {
            Node::Text(_) | Node::Cell(_) => "a text",
            Node::Whole(_) => "a whole number",
            Node::Flag(_) => "a flag",
            Node::List(_) => "a list",
            Node::Table(_) => "a table",
            Node::Strange(what) => what,
        };
        self.wrong(value.line, format!("`{name}` must be {wanted}, not {got}"));
        Json::Null
    }
}

fn word(
    text: &str,
    words: impl Iterator<Item = &'static str> + Clone,
    any: bool,
    name: &str,
) -> Result<Json, String> {
    if words.clone().any(|word| word == text) || (any && text == "*") {
        return Ok(Json::from(text));
    }
    let meant = words::meant(text, words.clone());
    let all: Vec<&str> = words.collect();
    Err(match meant {
        Some(meant) => format!("`{text}` is not known: did you mean `{meant}`?"),
        None if all.len() <= SHOWN_MAX => {
            format!("`{text}` is not known: write one of {}", all.join(", "))
        }
        None => format!("`{text}` is not a known {}", name.trim_end_matches('s')),
    })
}

/// A longer list of words helps nobody; near misses are named anyway.
const SHOWN_MAX: usize = 6;
