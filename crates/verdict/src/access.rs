//! May a caller do what it asks on a service? Judged from the rows that are about it and the roles that the caller has, as
//! they were when a request was decided, so that it can be judged again.
//!
//! The gateway asks casbin and its own reading over all rows of an organisation before; this is a third reading, of what a
//! record keeps.
//!
//! *Invariant:* deny wins, and what no row grants is refused. No person stands here: people are turned into their roles first.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// What the access model had to say of one request. A part of the `facts` text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// What was asked for: a service that runs models, or one of the gateway's own (`haetae:...`).
    pub service: String,
    /// `submit`, `upload`, `read_derived`, `cancel`, `metadata` or `admin`.
    pub operation: String,
    /// Every role of the caller that some row or link names, those that lead from one to another included; ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Every row about this service and operation, whichever role it names, in their own order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<AccessRow>,
    /// Of which state of all access rows these are some: their digest, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// One row of the access sheets, or of what an organisation granted itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRow {
    pub id: String,
    pub out: AccessOut,
    /// Absent: for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// One service, or [`MODELS`] or [`MANAGEMENT`].
    pub service: String,
    /// Absent: every operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessOut {
    Allow,
    /// Allows, and lets whoever has it give it to others.
    Delegate,
    Deny,
}

/// Nothing lets the caller do it, or this row forbids it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotGranted<'a> {
    pub row: Option<&'a str>,
}

impl Access {
    /// # Errors
    /// The row that refuses, if one does; without one, no row allows.
    pub fn grants(&self) -> Result<(), NotGranted<'_>> {
        let holding = || self.rows.iter().filter(|row| self.holds(row));
        if let Some(row) = holding().find(|row| row.out == AccessOut::Deny) {
            return Err(NotGranted { row: Some(&row.id) });
        }
        match holding().next() {
            Some(_) => Ok(()),
            None => Err(NotGranted { row: None }),
        }
    }

    fn holds(&self, row: &AccessRow) -> bool {
        let class = if self.service.starts_with(OWN_SERVICES) { MANAGEMENT } else { MODELS };
        row.role.as_ref().is_none_or(|role| self.roles.contains(role))
            && (row.service == class || row.service == self.service)
            && row.operation.as_ref().is_none_or(|own| *own == self.operation)
    }
}

/// Every service that runs models.
pub const MODELS: &str = "class:model";
/// Every service of the gateway itself.
pub const MANAGEMENT: &str = "class:haetae";
/// How the names of the gateway's own services begin; no registered model has such a name.
pub const OWN_SERVICES: &str = "haetae:";

#[cfg(test)]
mod tests {
    //! Proves that deny wins, that nothing is granted by rows about something else, and that no row is a refusal.

    use super::*;
    use alloc::{borrow::ToOwned, vec};

    fn row(id: &str, out: AccessOut, role: &str, service: &str, operation: &str) -> AccessRow {
        let some = |text: &str| (text != "*").then(|| text.to_owned());
        let (role, operation) = (some(role), some(operation));
        AccessRow { id: id.into(), out, role, service: service.into(), operation }
    }

    fn asked(rows: Vec<AccessRow>) -> Access {
        let (service, operation) = ("llama".into(), "submit".into());
        Access { service, operation, roles: vec!["user".into()], rows, state: None }
    }

    #[test]
    fn a_row_grants_only_its_role_service_and_operation() {
        use AccessOut::{Allow, Delegate};
        for right in [
            row("a", Allow, "user", "llama", "submit"),
            row("a", Allow, "*", MODELS, "*"),
            row("a", Delegate, "user", MODELS, "submit"),
        ] {
            assert_eq!(asked(vec![right]).grants(), Ok(()));
        }
        for other in [
            row("a", Allow, "admin", "llama", "submit"),
            row("a", Allow, "user", "other", "submit"),
            row("a", Allow, "user", "llama", "cancel"),
            row("a", Allow, "*", MANAGEMENT, "*"),
        ] {
            assert_eq!(asked(vec![other]).grants(), Err(NotGranted { row: None }));
        }
        let own = Access { service: "haetae:holds".into(), ..asked(Vec::new()) };
        let models = Access { rows: vec![row("a", Allow, "*", MODELS, "*")], ..own.clone() };
        assert!(models.grants().is_err(), "a right to models is none to manage");
        let managing = Access { rows: vec![row("a", Allow, "*", MANAGEMENT, "*")], ..own };
        assert_eq!(managing.grants(), Ok(()));
    }

    #[test]
    fn deny_wins_whatever_its_place() {
        let allow = row("a", AccessOut::Allow, "user", "llama", "submit");
        let deny = row("d", AccessOut::Deny, "*", MODELS, "*");
        for rows in [vec![allow.clone(), deny.clone()], vec![deny, allow]] {
            assert_eq!(asked(rows).grants(), Err(NotGranted { row: Some("d") }));
        }
    }
}
