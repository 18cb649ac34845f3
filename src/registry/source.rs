//! Bytes of a TOML or CSV file become values that know their lines.
//!
//! *Invariant:* nothing is interpreted here: no word, no date, no reference; and nothing is lost or merged.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value and the line it begins on (from 1).
#[derive(Debug)]
pub(super) struct Value {
    pub line: usize,
    pub node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// A cell of a CSV file: what it is depends on what is expected there.
    Cell(String),
    Whole(i64),
    Flag(bool),
    List(Vec<Value>),
    Table(Vec<Member>),
    /// Something that no key takes, by its name.
    Strange(&'static str),
}

#[derive(Debug)]
pub(super) struct Member {
    pub key: String,
    pub line: usize,
    pub value: Value,
}

/// What is wrong with the text itself: line and sentence.
pub(super) type Slip = (usize, String);

/// One TOML document: one table, and every slip that the parser could recover from.
pub(super) fn toml(text: &str) -> (Value, Vec<Slip>) {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let slips = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (lines.at(at), error.message().replace('\n', " "))
        })
        .collect();
    (Value { line: 1, node: Node::Table(members(table.get_ref(), &lines)) }, slips)
}

/// The rows of one CSV document, each a table. A dot in a header makes a table in the row (`scope.categories`); an
/// empty cell is an absent key.
pub(super) fn csv(text: &str) -> (Vec<Value>, Vec<Slip>) {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut header: Option<csv::StringRecord> = None;
    let (mut rows, mut slips) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(1, |at| usize_of(at.line()));
                slips.push((line, format!("not a CSV row: {error}")));
                continue;
            }
        };
        let line = record.position().map_or(1, |at| usize_of(at.line()));
        let Some(names) = &header else {
            slips.extend(repeated(&record).map(|name| {
                (line, format!("the column `{name}` is given twice: keep one of them"))
            }));
            header = Some(record);
            continue;
        };
        if names.len() == record.len() {
            rows.push(row(names, &record, line));
        } else {
            let (has, wants) = (record.len(), names.len());
            slips.push((line, format!("this row has {has} cells and the header has {wants}")));
        }
    }
    (rows, slips)
}

fn row(names: &csv::StringRecord, record: &csv::StringRecord, line: usize) -> Value {
    let mut members = Vec::new();
    for (name, cell) in names.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        put(&mut members, name, cell, line);
    }
    Value { line, node: Node::Table(members) }
}

fn put(members: &mut Vec<Member>, path: &str, cell: &str, line: usize) {
    let Some((head, rest)) = path.split_once('.') else {
        let value = Value { line, node: Node::Cell(cell.to_owned()) };
        members.push(Member { key: path.to_owned(), line, value });
        return;
    };
    for member in members.iter_mut().filter(|member| member.key == head) {
        if let Node::Table(inner) = &mut member.value.node {
            put(inner, rest, cell, line);
            return;
        }
    }
    let mut inner = Vec::new();
    put(&mut inner, rest, cell, line);
    let value = Value { line, node: Node::Table(inner) };
    members.push(Member { key: head.to_owned(), line, value });
}

fn repeated(header: &csv::StringRecord) -> impl Iterator<Item = &str> {
    header
        .iter()
        .enumerate()
        .filter(|(index, name)| header.iter().take(*index).any(|earlier| earlier == *name))
        .map(|(_, name)| name)
}

fn members(table: &DeTable<'_>, lines: &Lines) -> Vec<Member> {
    table
        .iter()
        .map(|(key, value)| Member {
            key: key.get_ref().clone().into_owned(),
            line: lines.at(key.span().start),
            value: located(value, lines),
        })
        .collect()
}

fn located(value: &Spanned<DeValue<'_>>, lines: &Lines) -> Value {
    let node = match value.get_ref() {
        DeValue::String(text) => Node::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Node::Strange("a number out of range"), Node::Whole),
        DeValue::Float(_) => Node::Strange("a fraction"),
        DeValue::Boolean(flag) => Node::Flag(*flag),
        DeValue::Datetime(date) => Node::Text(date.to_string()),
        DeValue::Array(items) => {
            Node::List(items.iter().map(|item| located(item, lines)).collect())
        }
        DeValue::Table(table) => Node::Table(members(table, lines)),
    };
    Value { line: lines.at(value.span().start), node }
}

fn usize_of(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

/// Where each line of a text begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}
