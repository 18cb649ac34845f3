//! The `OpenAPI` 3.1 document of the gateway's own protocol, made from the table of routes.

use serde_json::{Map, Value, json};

use super::routes::{ROUTES, Row};

/// The document. `build` is the version of the program.
#[must_use]
pub fn document(build: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for row in ROUTES {
        let path = paths.entry(row.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(row.method.to_ascii_lowercase(), operation(row));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Haetae: what an organisation manages itself",
            "version": build,
            "description": ABOUT,
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "certificate": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "certificate": { "type": "mutualTLS" },
            },
            "schemas": schemas(),
        },
    })
}

fn operation(row: &Row) -> Value {
    let mut responses = Map::new();
    let media = if row.gives == RECEIPT { "text/plain" } else { JSON };
    responses.insert("200".into(), content("Done.", media, row.gives));
    for (status, about) in REFUSALS {
        responses.insert((*status).into(), content(about, JSON, "Error"));
    }
    let mut operation = json!({
        "operationId": row.name, "summary": row.about, "responses": responses, "parameters": parameters(row),
    });
    if let Some(object) = operation.as_object_mut() {
        if let Some(service) = row.service {
            let right = format!("Needs the operation `admin` on the service `{service}`.");
            object.insert("description".into(), right.into());
        }
        if let Some(body) = row.asks {
            let media = json!({ JSON: { "schema": reference(body) } });
            object.insert("requestBody".into(), json!({ "required": true, "content": media }));
        }
    }
    operation
}

fn parameters(row: &Row) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let id = row
        .path
        .contains("{id}")
        .then(|| json!({ "name": "id", "in": "path", "required": true, "schema": text }));
    let query = row.query.iter().map(|name| json!({ "name": name, "in": "query", "schema": text }));
    id.into_iter().chain(query).collect()
}

fn content(about: &str, media: &str, schema: &str) -> Value {
    json!({ "description": about, "content": { media: { "schema": reference(schema) } } })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// Objects have these keys and no others.
fn object(required: &[&str], properties: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// The properties of both.
fn with(some: &Value, others: &Value) -> Value {
    let all = some.as_object().into_iter().chain(others.as_object()).flatten();
    all.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into()
}

fn schemas() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let reason = json!({ "type": "string", "minLength": 1, "maxLength": 2000 });
    let flag = json!({ "type": "boolean" });
    let row = json!({
        "out": { "type": "string", "enum": ["allow", "deny"] }, "role": text, "services": list(&text),
        "every_service": flag, "operations": list(&text), "delegable": flag,
    });
    let role = json!({ "role": text, "member": text, "actor": text, "issuer": text });
    let own = json!({ "name": text, "note": text, "valid_from": text, "valid_until": text });
    let error = object(
        &["message", "type", "param", "code"],
        &json!({ "message": text, "type": text, "param": { "type": ["string", "null"] }, "code": text }),
    );
    let others = json!({
        "Document": { "type": "object" },
        "Leaf": { "type": "object" },
        RECEIPT: { "type": "string" },
        "Error": object(&["error"], &json!({ "error": error })),
        "Holds": object(&["holds"], &json!({ "holds": list(&reference("Hold")), "next": text })),
        "Hold": object(
            &["id", "state", "service", "operation", "at", "rules", "persons", "bundle", "facts", "obligations", "duties", "votes"],
            &json!({
                "id": text,
                "state": { "type": "string", "enum": ["open", "released", "used", "expired", "refused"] },
                "service": text, "operation": text, "at": number, "rules": list(&text), "persons": number,
                "bundle": text, "facts": text, "until": number, "votes": list(&reference("Vote")),
                "obligations": list(&text), "duties": list(&reference("Duty")),
            }),
        ),
        "Release": object(
            &["reason"],
            &json!({ "reason": reason, "hours": { "type": "integer", "minimum": 1, "maximum": 168 } }),
        ),
        "Refuse": object(&["reason"], &json!({ "reason": reason })),
        "Access": object(
            &["rows", "roles"],
            &json!({ "rows": list(&reference("Row")), "roles": list(&reference("Role")) }),
        ),
        "Row": object(&["id", "out", "role", "services", "operations"], &with(&row, &json!({ "id": text }))),
        "Role": object(&["id", "role"], &with(&role, &json!({ "id": text }))),
        "AccessRow": object(&["out", "role", "services", "operations"], &with(&row, &own)),
        "RoleGrant": object(&["role"], &with(&role, &own)),
        "Changed": object(&["id", "version", "changed"], &json!({ "id": text, "version": number, "changed": flag })),
        "AccessQuestion": object(
            &["service", "operation"],
            &json!({ "roles": list(&text), "actor": text, "issuer": text, "service": text, "operation": text }),
        ),
        "AccessAnswer": object(
            &["allowed", "because", "may_give"],
            &json!({ "allowed": flag, "because": list(&reference("Because")), "may_give": list(&text) }),
        ),
        "Because": object(
            &["row", "out", "role", "through", "own"],
            &json!({ "row": text, "out": text, "role": text, "through": text, "own": flag }),
        ),
        "Vote": object(
            &["choice", "at", "reason"],
            &json!({ "choice": { "type": "string", "enum": ["release", "refuse"] }, "at": number, "reason": text }),
        ),
    });
    with(&with(&others, &look_ahead()), &with(&obligations(), &webhooks()))
}

/// What `/v1/webhooks` takes and gives.
fn webhooks() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    json!({
        "Webhooks": object(&["webhooks"], &json!({ "webhooks": list(&reference("Webhook")) })),
        "Webhook": object(
            &["id", "url", "waiting", "delivered", "dead"],
            &json!({ "id": text, "url": text, "waiting": number, "delivered": number, "dead": number }),
        ),
        "WebhookAddress": object(&["url"], &json!({ "url": { "type": "string", "maxLength": 512 } })),
        "WebhookSecret": object(&["id", "secret"], &json!({ "id": text, "secret": text })),
        "WebhookNotice": object(&["notice"], &json!({ "notice": text })),
        "WebhookRemoved": object(&["id"], &json!({ "id": text })),
    })
}

/// What `/v1/obligations` takes and gives.
fn obligations() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    json!({
        "Obligations": object(&["obligations"], &json!({ "obligations": list(&reference("Obligation")) })),
        "Obligation": object(
            &["id", "state", "service", "site", "code", "period", "first", "last", "decisions", "duty"],
            &json!({
                "id": text,
                "state": { "type": "string", "enum": ["broken", "overdue", "open", "met", "closed"] },
                "service": text, "site": text, "code": text, "period": text, "first": number, "last": number,
                "decisions": number, "due": number, "meaning": { "type": "object" },
                "duty": reference("Duty"), "checked": reference("Checked"),
                "closed": object(&["at", "evidence"], &json!({ "at": number, "evidence": text })),
            }),
        ),
        "Checked": object(
            &["at", "evidence", "entries", "unexplained", "whole", "findings"],
            &json!({
                "at": number, "evidence": text, "entries": number, "unexplained": number, "mismatches": number,
                "whole": { "type": "boolean" },
                "findings": list(&object(&["line", "at", "why"], &json!({ "line": number, "at": number, "why": text }))),
            }),
        ),
        "Duty": object(
            &["code", "text", "due", "closing", "machine_checked"],
            &json!({
                "code": text, "text": text, "source": text, "due": text, "closing": text,
                "machine_checked": { "type": "boolean" },
            }),
        ),
        "Closing": object(
            &["reason", "evidence"],
            &json!({
                "reason": { "type": "string", "minLength": 1, "maxLength": 2000 },
                "evidence": { "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" },
            }),
        ),
    })
}

/// What `POST /v1/decide` takes and gives.
fn look_ahead() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    json!({
        "Asked": object(
            &["service"],
            &json!({
                "service": text, "datasets": list(&text), "purpose": text, "no_data": { "type": "boolean" }, "site": text,
                "output": { "type": "string", "enum": ["aggregate", "model", "raw"] },
                "onward": list(&object(&["what"], &json!({ "what": text, "host": text }))),
            }),
        ),
        "LookAhead": object(
            &["id", "outcome", "explanation", "obligations", "duties", "sites", "candidates", "fact_version", "decision"],
            &json!({
                "id": text,
                "outcome": { "type": "string", "enum": ["ALLOW", "ALLOW_WITH_OBLIGATIONS", "HOLD", "DENY"] },
                "explanation": text, "obligations": list(&text), "duties": list(&reference("Duty")), "sites": list(&text),
                "candidates": list(&object(
                    &["site", "outcome"],
                    &json!({ "site": text, "outcome": text, "reason": text, "rule": text, "text": text }),
                )),
                "fact_version": number, "valid_until": number, "decision": { "type": "object" },
            }),
        ),
    })
}

const JSON: &str = "application/json";
/// The one answer that is no JSON.
const RECEIPT: &str = "Receipt";

const ABOUT: &str = "Every request shows a token or a client certificate. What is refused to somebody known is a record of \
    the log, and its answer carries the record's id (`haetae-decision`) and proof (`haetae-receipt`, of what `/v1/decisions/{id}/leaf` \
    gives). Instants are Unix seconds.";

const REFUSALS: &[(&str, &str)] = &[
    ("400", "The request is not understood."),
    ("401", "The caller is not known."),
    ("403", "The caller may not do this."),
    ("404", "There is no such thing, or it is another organisation's."),
    ("409", "It cannot be done any more, or not by this person."),
    ("503", "Not now: nothing was done, try again."),
];
