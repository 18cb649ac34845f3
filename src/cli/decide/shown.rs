//! A decision as `haetae decide` prints it: every key stands there, `null` where a record leaves it out.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use verdict::decision::{Decision, Why};
use verdict::rule::Obligation;

/// The decision of one question, with all its keys in the order in which it is read.
#[derive(Debug)]
pub struct Shown {
    pub(super) decision: Decision,
    /// What its obligations mean, for people.
    pub(super) meanings: Vec<Obligation>,
    /// Unix seconds: the instant that the question named.
    pub(super) at: i64,
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        let Decision {
            id,
            outcome,
            reasons,
            obligations,
            cells,
            remedy,
            valid_until,
            bundle,
            facts_digest,
        } = &self.decision;
        let mut object = writer.serialize_struct("Decision", 9)?;
        object.serialize_field("id", id)?;
        object.serialize_field("outcome", outcome)?;
        object.serialize_field("reasons", &reasons.iter().map(ShownWhy).collect::<Vec<_>>())?;
        object.serialize_field("obligations", obligations)?;
        object.serialize_field("cells", cells)?;
        object.serialize_field("remedy", remedy)?;
        object.serialize_field("valid_until", valid_until)?;
        object.serialize_field("bundle", bundle)?;
        object.serialize_field("facts_digest", facts_digest)?;
        object.end()
    }
}

struct ShownWhy<'a>(&'a Why);

impl Serialize for ShownWhy<'_> {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        let Why { code, rule, basis, cell, text, citation, missing, ground, facts } = self.0;
        let mut object = writer.serialize_struct("Why", 9)?;
        object.serialize_field("code", code)?;
        object.serialize_field("rule", rule)?;
        object.serialize_field("basis", basis)?;
        object.serialize_field("cell", cell)?;
        object.serialize_field("text", text)?;
        object.serialize_field("citation", citation)?;
        object.serialize_field("missing", missing)?;
        object.serialize_field("ground", ground)?;
        object.serialize_field("facts", facts)?;
        object.end()
    }
}
