//! What a release of a hold will ask for, read off the judgement and the rules that held it.

use verdict::facts::Judgement;
use verdict::rule::{Book, Obligation};
use verdict::told::{self, UNREADABLE_RECORD};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AsksFor {
    pub codes: Vec<String>,
    pub meanings: Vec<Obligation>,
}

impl AsksFor {
    /// A judgement that is gone asks for what nobody knows, not for nothing.
    pub fn read(detail: Option<&[u8]>, book: Option<&[u8]>) -> Self {
        let judgement = detail.and_then(|bytes| serde_json::from_slice::<Judgement>(bytes).ok());
        let Some(judgement) = judgement else {
            return Self { codes: vec![UNREADABLE_RECORD.to_owned()], meanings: Vec::new() };
        };
        let codes = judgement.decision.obligations;
        if codes.is_empty() {
            return Self::default();
        }
        let book = book.and_then(|bytes| serde_json::from_slice::<Book>(bytes).ok());
        let all = book.map(|book| book.vocabulary.obligations).unwrap_or_default();
        Self { meanings: told::meanings(&codes, &all), codes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_nothing() {
        for detail in [None, Some(b"{}".as_slice())] {
            assert_eq!(AsksFor::read(detail, None).codes, [UNREADABLE_RECORD]);
        }
    }
}
