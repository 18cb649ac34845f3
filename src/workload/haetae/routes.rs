//! The closed list of routes of the gateway's own protocol. A path is compared as it stands, segment by segment.

use std::sync::Arc;

use hyper::http::Method;
use verdict::reason::Reason;

use super::{Does, Errand};
use crate::workload::{NotUnderstood, Operation, Protocol, Route, declare};

/// One route: how it is asked for, who may, and what the document says of it.
#[derive(Debug)]
pub struct Row {
    pub method: &'static str,
    /// With at most one `{id}`, as a whole segment.
    pub path: &'static str,
    /// As in the record and in the document.
    pub name: &'static str,
    pub service: Option<&'static str>,
    pub does: Does,
    /// Query parameters that may be given.
    pub query: &'static [&'static str],
    /// Bytes; 0 means no body is allowed.
    pub body_max_bytes: usize,
    /// Schema of the body, where there is one.
    pub asks: Option<&'static str>,
    /// Schema of the answer.
    pub gives: &'static str,
    /// One sentence for who reads the document.
    pub about: &'static str,
}

/// Finds the route; `None` when the path is none of ours.
///
/// # Errors
/// 405 for another method, 400 for a query parameter that the route does not have.
#[must_use]
pub fn route(
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Option<Result<Route, NotUnderstood>> {
    let mut rows = at_path(path).peekable();
    rows.peek()?;
    let asked = |(row, _): &(&Row, _)| row.methods().any(|one| one == method.as_str());
    let Some((row, id)) = rows.find(asked) else {
        let message = format!("this path is asked with {} only", methods(path).join(" or "));
        return Some(Err(NotUnderstood::new(405, Reason::MethodRefused, message)));
    };
    Some(parameters(row, query).map(|query| Route {
        protocol: Protocol::Haetae,
        operation: Operation::Admin,
        name: row.name,
        upstream_path: row.path,
        model: row.service.map(Arc::from),
        body_max_bytes: row.body_max_bytes,
        errand: Some(Errand { does: row.does, service: row.service, id, query }),
    }))
}

/// The methods that a path is asked with; none when it is none of ours.
#[must_use]
pub fn methods(path: &str) -> Vec<&'static str> {
    at_path(path).flat_map(|(row, _)| row.methods()).collect()
}

fn at_path(path: &str) -> impl Iterator<Item = (&'static Row, Option<Arc<str>>)> {
    ROUTES.iter().filter_map(move |row| Some((row, values(row.path, path)?.pop())))
}

impl Row {
    /// What is a file rather than an answer may be looked at by its head alone.
    fn methods(&self) -> impl Iterator<Item = &'static str> + use<> {
        let is_file = matches!(self.does, Does::ShowLeaf | Does::ShowReceipt);
        std::iter::once(self.method).chain(is_file.then_some("HEAD"))
    }
}

/// What stands for each `{id}`, if the path is this template's.
fn values(template: &str, path: &str) -> Option<Vec<Arc<str>>> {
    let mut values = Vec::new();
    let (mut expected, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(values),
            (Some("{id}"), Some(segment)) if declare::is_name(segment, ID_BYTES, ID_MAX) => {
                values.push(Arc::from(segment));
            }
            (Some(expected), Some(segment)) if expected == segment => {}
            _ => return None,
        }
    }
}

type Parameters = Vec<(Arc<str>, Arc<str>)>;

/// The strict layer has seen to it that each key is there once and every byte is plain.
fn parameters(row: &Row, query: Option<&str>) -> Result<Parameters, NotUnderstood> {
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    pairs
        .map(|pair| {
            let known = pair.split_once('=').filter(|(key, _)| row.query.contains(key));
            known.map(|(key, value)| (Arc::from(key), Arc::from(value))).ok_or_else(|| {
                let message = if row.query.is_empty() {
                    "this route takes no query parameter".to_owned()
                } else {
                    format!("this route takes the query parameters `{}`", row.query.join("`, `"))
                };
                NotUnderstood::new(400, Reason::PathInvalid, message)
            })
        })
        .collect()
}

/// Every route of the gateway's own protocol, in the order of the document.
pub const ROUTES: &[Row] = &[
    Row {
        method: "GET",
        path: "/v1/openapi.json",
        name: "openapi",
        service: None,
        does: Does::Describe,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "Document",
        about: "This document.",
    },
    Row {
        method: "POST",
        path: "/v1/decide",
        name: "decide",
        // Who may send it may ask: the operation `submit` on the service that the body names.
        service: None,
        does: Does::Decide,
        query: &[],
        body_max_bytes: BODY_MAX,
        asks: Some("Asked"),
        gives: "LookAhead",
        about: "What would be decided if this were sent. The body says what `haetae-` headers say on the data path (they may \
                be sent as well). It is recorded as a look ahead; nothing is forwarded, held or used up.",
    },
    Row {
        method: "GET",
        path: "/v1/decisions/{id}/leaf",
        name: "decisions.leaf",
        // Whoever got the answer: the gate looks at whose record it is.
        service: None,
        does: Does::ShowLeaf,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "Leaf",
        about: "The record of an answer that the organisation got, by its `haetae-decision`: the bytes that its `haetae-receipt` proves. \
                HEAD is answered too.",
    },
    Row {
        method: "GET",
        path: "/v1/decisions/{id}/receipt",
        name: "decisions.receipt",
        service: None,
        does: Does::ShowReceipt,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "Receipt",
        about: "A C2SP tlog-proof of the same record under a newer checkpoint, which witnesses cosigned where there are any. HEAD is \
                answered too.",
    },
    Row {
        method: "GET",
        path: "/v1/holds",
        name: "holds.list",
        service: Some(HOLDS),
        does: Does::ListHolds,
        query: &["state", "before"],
        body_max_bytes: 0,
        asks: None,
        gives: "Holds",
        about: "The organisation's questions that a rule held for review, newest first, 50 a page. `state` narrows it to \
                `open`, `released` or `refused`; `before` is the `next` of the page before.",
    },
    Row {
        method: "GET",
        path: "/v1/holds/{id}",
        name: "holds.show",
        service: Some(HOLDS),
        does: Does::ShowHold,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "Hold",
        about: "One hold with the votes on it.",
    },
    Row {
        method: "POST",
        path: "/v1/holds/{id}/release",
        name: "holds.release",
        service: Some(HOLDS),
        does: Does::ReleaseHold,
        query: &[],
        body_max_bytes: BODY_MAX,
        asks: Some("Release"),
        gives: "Hold",
        about: "One person's word that it may pass. When as many different persons as the hold needs have said so, the same \
                request passes once within the shortest time that any of them gave (24 hours unless said otherwise), as \
                long as its facts and rules stay what they are.",
    },
    Row {
        method: "POST",
        path: "/v1/holds/{id}/refuse",
        name: "holds.refuse",
        service: Some(HOLDS),
        does: Does::RefuseHold,
        query: &[],
        body_max_bytes: BODY_MAX,
        asks: Some("Refuse"),
        gives: "Hold",
        about: "One person's word that it may not pass: the hold ends.",
    },
    Row {
        method: "GET",
        path: "/v1/obligations",
        name: "obligations.list",
        service: Some(OBLIGATIONS),
        does: Does::ListObligations,
        query: &["state"],
        body_max_bytes: 0,
        asks: None,
        gives: "Obligations",
        about: "What decisions asked for after they allowed, one for each service, site, code and period, the most pressing first. \
                `open` and `overdue`: somebody must do it and say so; `met` and `broken` a machine found; `closed`: somebody said \
                that it was done. `state` narrows it to one of them.",
    },
    Row {
        method: "POST",
        path: "/v1/obligations/{id}/close",
        name: "obligations.close",
        service: Some(OBLIGATIONS),
        does: Does::CloseObligation,
        query: &[],
        body_max_bytes: BODY_MAX,
        asks: Some("Closing"),
        gives: "Obligation",
        about: "Says that it was done, for its period, and by which evidence: `sha256:` and hex over the document, which stays where \
                it is. A record of the log.",
    },
    Row {
        method: "GET",
        path: "/v1/access",
        name: "access.list",
        service: Some(ACCESS),
        does: Does::ListAccess,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "Access",
        about: "The organisation's own rows and grants of roles that are in force.",
    },
    Row {
        method: "POST",
        path: "/v1/access/explain",
        name: "access.explain",
        service: Some(ACCESS),
        does: Does::ExplainAccess,
        query: &[],
        body_max_bytes: ENTRY_MAX,
        asks: Some("AccessQuestion"),
        gives: "AccessAnswer",
        about: "Whether somebody may do something, by which rows, and who could give it.",
    },
    Row {
        method: "POST",
        path: "/v1/access/rows",
        name: "access.grant_row",
        service: Some(ACCESS),
        does: Does::GrantRow,
        query: &[],
        body_max_bytes: ENTRY_MAX,
        asks: Some("AccessRow"),
        gives: "Changed",
        about: "Lets a role do operations on services, or forbids it. You can give what you have and may pass on.",
    },
    Row {
        method: "POST",
        path: "/v1/access/rows/{id}/revoke",
        name: "access.revoke_row",
        service: Some(ACCESS),
        does: Does::RevokeRow,
        query: &["force"],
        body_max_bytes: 0,
        asks: None,
        gives: "Changed",
        about: "Takes a row back. In force when this is answered. `force=true`: also when nobody could administer access by \
                the organisation's entries afterwards.",
    },
    Row {
        method: "POST",
        path: "/v1/access/roles",
        name: "access.grant_role",
        service: Some(ACCESS),
        does: Does::GrantRole,
        query: &[],
        body_max_bytes: ENTRY_MAX,
        asks: Some("RoleGrant"),
        gives: "Changed",
        about: "Gives a role to another role (`member`), or to a person or service (`actor` of `issuer`).",
    },
    Row {
        method: "POST",
        path: "/v1/access/roles/{id}/revoke",
        name: "access.revoke_role",
        service: Some(ACCESS),
        does: Does::RevokeRole,
        query: &["force"],
        body_max_bytes: 0,
        asks: None,
        gives: "Changed",
        about: "Takes a role back. In force when this is answered.",
    },
    Row {
        method: "GET",
        path: "/v1/webhooks",
        name: "webhooks.list",
        service: Some(WEBHOOKS),
        does: Does::ListWebhooks,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "Webhooks",
        about: "Where the organisation is told of what runs out and of orders that touch it, with how many notices were delivered, wait or were given up.",
    },
    Row {
        method: "POST",
        path: "/v1/webhooks",
        name: "webhooks.add",
        service: Some(WEBHOOKS),
        does: Does::AddWebhook,
        query: &[],
        body_max_bytes: URL_MAX,
        asks: Some("WebhookAddress"),
        gives: "WebhookSecret",
        about: "Registers an address (https, public; 16 at most). The secret with which its receiver checks signatures (Standard Webhooks) is in this answer and never again.",
    },
    Row {
        method: "POST",
        path: "/v1/webhooks/{id}/test",
        name: "webhooks.test",
        service: Some(WEBHOOKS),
        does: Does::TestWebhook,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "WebhookNotice",
        about: "Sends a notice of type `webhook.test`.",
    },
    Row {
        method: "POST",
        path: "/v1/webhooks/{id}/rotate",
        name: "webhooks.rotate",
        service: Some(WEBHOOKS),
        does: Does::RotateWebhook,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "WebhookSecret",
        about: "Gives it another secret, shown in this answer alone; notices are signed with the old one too for a day.",
    },
    Row {
        method: "POST",
        path: "/v1/webhooks/{id}/remove",
        name: "webhooks.remove",
        service: Some(WEBHOOKS),
        does: Does::RemoveWebhook,
        query: &[],
        body_max_bytes: 0,
        asks: None,
        gives: "WebhookRemoved",
        about: "Sends nothing there any more.",
    },
];

const WEBHOOKS: &str = "haetae:webhooks";
/// An address of 512 bytes, each escaped as 6.
const URL_MAX: usize = 4 << 10;
const OBLIGATIONS: &str = "haetae:obligations";
const HOLDS: &str = "haetae:holds";
const ACCESS: &str = "haetae:access";
/// An entry with 64 services of 128 bytes, and a note of 1,000.
const ENTRY_MAX: usize = 16 * 1_024;

/// A reason of 2,000 characters at 4 bytes, each escaped as 12, is 24 kB; the rest is short.
const BODY_MAX: usize = 32 << 10;
/// Bytes of an id in a path: a UUID has 36, ids of registry entries up to 128.
const ID_MAX: usize = 128;
const ID_BYTES: &[u8] = b"._:@+-";

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &Method, path: &str, query: Option<&str>) -> Option<Result<Route, u16>> {
        route(method, path, query).map(|found| found.map_err(|why| why.status))
    }

    #[test]
    fn a_path_is_a_row_or_nothing() {
        let errand = |route: Route| route.errand.unwrap();
        let shown = errand(find(&Method::GET, "/v1/holds/0198-a", None).unwrap().unwrap());
        assert_eq!((shown.does, shown.id.as_deref()), (Does::ShowHold, Some("0198-a")));
        let listed = find(&Method::GET, "/v1/holds", Some("state=open")).unwrap().unwrap();
        assert_eq!(errand(listed).asked("state"), Some("open"));
        assert_eq!(find(&Method::GET, "/v1/holds", Some("org=kr-bank")), Some(Err(400)));
        assert_eq!(find(&Method::GET, "/v1/holds", Some("state")), Some(Err(400)));
        assert_eq!(find(&Method::POST, "/v1/holds", None), Some(Err(405)));
        assert_eq!(find(&Method::HEAD, "/v1/holds", None), Some(Err(405)));
        let leaf = errand(find(&Method::HEAD, "/v1/decisions/0198-a/leaf", None).unwrap().unwrap());
        assert_eq!((leaf.does, leaf.id.as_deref()), (Does::ShowLeaf, Some("0198-a")));
        assert_eq!(find(&Method::POST, "/v1/decisions/0198-a/leaf", None), Some(Err(405)));
        assert_eq!(find(&Method::GET, "/v1/decisions/0198-a/leaf", Some("a=b")), Some(Err(400)));
        for path in [
            "/v1/holds/",
            "/v1/holds/a/b",
            "/v1/holds/..",
            "/v1/hold",
            "/V1/holds",
            "/v1/models",
            "/v1/decisions/a",
        ] {
            assert_eq!(find(&Method::GET, path, None), None, "{path}");
        }
    }

    #[test]
    fn rows_are_well_formed() {
        for row in ROUTES {
            assert!(
                row.path.starts_with("/v1/") && row.path.matches('{').count() <= 1,
                "{}",
                row.path
            );
            assert_eq!(row.asks.is_some(), row.body_max_bytes > 0, "{}", row.name);
            assert!(
                row.service.is_none_or(|service| service.starts_with("haetae:")),
                "{}",
                row.name
            );
            let same = |other: &&Row| {
                (other.method, other.path) == (row.method, row.path) || other.name == row.name
            };
            assert_eq!(ROUTES.iter().filter(same).count(), 1, "{}", row.name);
        }
    }
}
