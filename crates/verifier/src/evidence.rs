//! What the access evidence of a record must be about: which right the operation of a request needs.
//!
//! A record names what was asked in the protocol's own words (`chat.completions`), the access model by the right that it
//! takes (`submit`). Both are written by the gateway, in two places: here they are held against each other.
//!
//! *Invariant:* a closed list. An operation that is not in it is of a later gateway, and nothing is said of it.

/// The right that an operation needs, by the `protocol` and `operation` of its record (docs/record.md).
#[must_use]
pub fn right(protocol: &str, operation: &str) -> Option<&'static str> {
    match (protocol, operation) {
        // A look ahead (`decide`) is judged by the right to what it asks about, not by one to ask.
        ("openai", "chat.completions" | "completions" | "embeddings" | "responses")
        | ("haetae", "decide") => Some("submit"),
        ("openai", "models.list" | "models.retrieve") => Some("metadata"),
        (
            "haetae",
            "openapi" | "holds.list" | "holds.show" | "holds.release" | "holds.refuse"
            | "obligations.list" | "obligations.close" | "access.list" | "access.explain"
            | "access.grant_row" | "access.revoke_row" | "access.grant_role" | "access.revoke_role"
            | "webhooks.list" | "webhooks.add" | "webhooks.test" | "webhooks.rotate"
            | "webhooks.remove",
        ) => Some("admin"),
        _ => None,
    }
}
