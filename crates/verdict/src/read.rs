//! Questions as text, read strictly: unknown and repeated keys are errors that name their path.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use serde_json::{Value, value::RawValue};

use crate::{question::Question, terms::QuestionError};

/// One item of a list of questions: the question, or its id (where one can be read) and what is wrong with it.
pub type Item = Result<Question, (Option<String>, QuestionError)>;

/// Reads one question or an array of questions ([`is_list`]). A bad item does not spoil the others.
///
/// # Errors
/// When the bytes are not JSON, or neither an object nor an array.
pub fn read_questions(bytes: &[u8]) -> Result<Vec<Item>, QuestionError> {
    let text = core::str::from_utf8(bytes).map_err(|error| whole(&error.to_string()))?;
    let items: Result<Vec<&RawValue>, _> = if is_list(bytes) {
        serde_json::from_str(text)
    } else {
        serde_json::from_str(text).map(|item| [item].to_vec())
    };
    let items = items.map_err(|error| whole(&error.to_string()))?;
    Ok(items.into_iter().map(|item| read_question(item.get())).collect())
}

/// An array was given, so an array of decisions is expected.
#[must_use]
pub fn is_list(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'[')
}

fn whole(message: &str) -> QuestionError {
    let message = format!("neither a question nor an array of questions: {message}");
    QuestionError { path: String::new(), message }
}

/// Reads the text of one question.
///
/// # Errors
/// Its id, where one can be read, and what is wrong with it and where.
pub fn read_question(text: &str) -> Item {
    serde_json::from_str(text).map_err(|error: serde_json::Error| {
        let id = serde_json::from_str::<Value>(text).ok();
        let id = id.and_then(|value| value.get("id")?.as_str().map(ToOwned::to_owned));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        let path = path_at(text, error.line(), error.column());
        (id, QuestionError { path, message })
    })
}

/// The JSON path of what stands before this position (line and column from 1) of a well-formed text.
fn path_at(text: &str, line: usize, column: usize) -> String {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut open: Vec<Step> = Vec::new();
    let mut bytes = text.bytes().take(before + column).peekable();
    while let Some(byte) = bytes.next() {
        match (byte, open.last_mut()) {
            (b'{', _) => open.push(Step::Key { name: String::new(), value: false }),
            (b'[', _) => open.push(Step::Place(0)),
            // what was just closed is the culprit when nothing follows
            (b'}' | b']', _) if bytes.peek().is_some() => drop(open.pop()),
            (b',', Some(Step::Key { value, .. })) if bytes.peek().is_some() => *value = false,
            (b',', Some(Step::Place(place))) if bytes.peek().is_some() => *place += 1,
            (b':', Some(Step::Key { value, .. })) => *value = true,
            (b'"', step) => {
                let string = string(&mut bytes);
                if let Some(Step::Key { name, value: false }) = step {
                    *name = string;
                }
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for step in open {
        match step {
            Step::Key { name, .. } if name.is_empty() => {}
            Step::Key { name, .. } if path.is_empty() => path = name,
            Step::Key { name, .. } => path = format!("{path}.{name}"),
            Step::Place(place) => path = format!("{path}[{place}]"),
        }
    }
    path
}

/// Where in an object (after which key; before or in its value) or in an array.
enum Step {
    Key { name: String, value: bool },
    Place(usize),
}

/// The rest of a string literal, its escapes kept as written.
fn string(bytes: &mut impl Iterator<Item = u8>) -> String {
    let mut raw = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => raw.extend([Some(byte), bytes.next()].into_iter().flatten()),
            _ => raw.push(byte),
        }
    }
    String::from_utf8_lossy(&raw).into_owned()
}
