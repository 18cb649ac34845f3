//! The only place that renders an answer of the gateway's own: refusals, failures, and the headers of an allow.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use verdict::decision::{Outcome, Why};
use verdict::facts::Candidate;
use verdict::reason::Reason;
use verdict::told;

use super::Known;
use super::admit::TurnedAway;
use super::limits::NoPlace;
use super::prepare::Prepared;
use crate::audit::{Proof, RecordError};
use crate::caller::CallerError;
use crate::forward::{Failure, ForwardError};
use crate::reserve::ReserveError;
use crate::workload::{self, Native, NotUnderstood, Protocol, Refusal};

/// Why there is no decision to show: nothing was forwarded and nothing was refused; a retry may help.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unavailable {
    pub(super) code: &'static str,
    pub(super) message: &'static str,
}

/// The site's answer with the decision's id, bundle and receipt, and the codes of what it asks for at this site.
pub(super) fn allowed(
    mut response: Response<Body>,
    prepared: &Prepared,
    site: &str,
    proof: &Proof,
) -> Response<Body> {
    stamp(response.headers_mut(), Some(prepared), Some(proof));
    let told = prepared.judgement.candidates.iter().find(|one| one.site == site);
    let codes = told.map(|one| one.decision.obligations.as_slice()).unwrap_or_default();
    if !codes.is_empty() {
        // RFC 8941 list of strings: what the codes mean is said by `/v1/decide` and `/v1/obligations`
        let list = format!("\"{}\"", codes.join("\", \""));
        insert(response.headers_mut(), OBLIGATIONS, HeaderValue::from_str(&list).ok());
    }
    response
}

/// What a refusal says besides the decision's own reasons.
pub(super) enum More<'a> {
    /// The request could not be read.
    NotUnderstood(&'a NotUnderstood),
    /// It waits for people, where it does.
    Held(Option<Hold>),
}

/// A question that waits for so many persons.
pub(super) struct Hold {
    pub(super) id: Arc<str>,
    pub(super) persons: u8,
}

/// A recorded refusal in the caller's own protocol.
pub(super) fn refusal(
    known: &Known,
    prepared: &Prepared,
    proof: &Proof,
    more: More<'_>,
) -> Response<Body> {
    let (why, hold) = match more {
        More::NotUnderstood(why) => (Some(why), None),
        More::Held(hold) => (None, hold),
    };
    let first = prepared.judgement.decision.reasons.first();
    let (status, code) = status_and_code(prepared, first, why);
    let mut message = explain(known, prepared, &proof.id, why);
    if let Some(hold) = &hold {
        message.push_str(&where_to_look(known, hold));
    }
    let native = workload::refuse(
        known.protocol(),
        &Refusal { status, code: &code, message: &message, param: why.and_then(|why| why.param) },
    );
    let mut response = render(native);
    stamp(response.headers_mut(), Some(prepared), Some(proof));
    let hold = hold.and_then(|hold| HeaderValue::from_str(&hold.id).ok());
    insert(response.headers_mut(), HOLD, hold);
    if status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
    }
    response
}

/// What would be decided, in the words of a decision.
pub(super) fn preflight(known: &Known, prepared: &Prepared, proof: &Proof) -> Response<Body> {
    let judgement = &prepared.judgement;
    let candidates: Vec<serde_json::Value> =
        judgement.candidates.iter().map(|one| candidate(known, one)).collect();
    let mut told = serde_json::json!({
        "id": &*proof.id,
        "outcome": judgement.outcome,
        "explanation": explain(known, prepared, &proof.id, None),
        "obligations": judgement.decision.obligations,
        "duties": told::duties(&judgement.decision.obligations, &prepared.meanings, known.language()),
        "sites": judgement.permitted,
        "candidates": candidates,
        "fact_version": prepared.version,
        "decision": judgement.decision,
    });
    if let (Some(until), Some(told)) = (prepared.valid_until, told.as_object_mut()) {
        told.insert("valid_until".into(), until.into());
    }
    let mut response = managed(&told);
    stamp(response.headers_mut(), Some(prepared), Some(proof));
    response
}

/// One site, and the first reason for what was decided of it.
fn candidate(known: &Known, Candidate { site, decision }: &Candidate) -> serde_json::Value {
    let mut told = serde_json::json!({ "site": site, "outcome": decision.outcome });
    if let (Some(why), Some(told)) = (decision.reasons.first(), told.as_object_mut()) {
        told.insert("reason".into(), why.code.code().into());
        told.insert("text".into(), known.language().pick(&why.text).into());
        told.extend(why.rule.as_ref().map(|rule| ("rule".into(), rule.as_str().into())));
    }
    told
}

/// Allowed and recorded, but the site gave no answer.
pub(super) fn site_failed(
    known: &Known,
    error: ForwardError,
    message: &str,
    prepared: &Prepared,
    proof: &Proof,
) -> Response<Body> {
    let native = workload::refuse(
        known.protocol(),
        &Refusal { status: error.status(), code: error.code(), message, param: None },
    );
    let mut response = render(native);
    stamp(response.headers_mut(), Some(prepared), Some(proof));
    if let Some(seconds) = error.retry_after_s() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Allowed and recorded, but the witnesses that a rule demands did not cosign the record in time: nothing was forwarded.
pub(super) fn not_witnessed(known: &Known, prepared: &Prepared, proof: &Proof) -> Response<Body> {
    let reason = Reason::NotWitnessed;
    let said = if known.korean { reason.ko() } else { reason.en() };
    let message = format!("{said} [decision {}]", proof.id);
    let refusal = Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        code: &snake(reason),
        message: &message,
        param: None,
    };
    let mut response = render(workload::refuse(known.protocol(), &refusal));
    stamp(response.headers_mut(), Some(prepared), Some(proof));
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
    response
}

/// The last event of a stream that is cut short.
pub(super) fn last_event(
    protocol: Protocol,
    failure: Failure,
    message: &str,
    decision: &str,
) -> Bytes {
    let (status, code) = (failure.status(), failure.code());
    workload::stream_error(protocol, &Refusal { status, code, message, param: None }, decision)
}

/// 503 without a record: the one answer that is neither allow nor refusal.
pub(super) fn unavailable(protocol: Protocol, why: Unavailable) -> Response<Body> {
    let native = workload::refuse(
        protocol,
        &Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            code: why.code,
            message: why.message,
            param: None,
        },
    );
    let mut response = render(native);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
    response
}

/// Refused before the caller was known. All token defects look alike.
pub(super) fn turned_away(turned_away: &TurnedAway) -> Response<Body> {
    match turned_away {
        TurnedAway::Strict(error) => {
            let mut response = render(workload::refuse(
                Protocol::OpenAi,
                &Refusal {
                    status: error.status.as_u16(),
                    code: error.rule,
                    message: error.message,
                    param: None,
                },
            ));
            if error.status == StatusCode::METHOD_NOT_ALLOWED {
                response
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static(super::strict::METHODS));
            }
            response
        }
        // Not the caller's fault: a client that is told 401 throws away a token that is good.
        TurnedAway::Unknown(CallerError::KeysUnavailable) => {
            unavailable(Protocol::OpenAi, Unavailable::keys())
        }
        TurnedAway::Unknown(_) => {
            let mut response = render(workload::refuse(
                Protocol::OpenAi,
                &Refusal {
                    status: StatusCode::UNAUTHORIZED.as_u16(),
                    code: "unauthenticated",
                    message: UNAUTHENTICATED,
                    param: None,
                },
            ));
            let challenge = HeaderValue::from_static("Bearer realm=\"haetae\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
        TurnedAway::NoPlace(no_place) => unavailable(
            Protocol::OpenAi,
            match no_place {
                NoPlace::Draining => Unavailable::draining(),
                NoPlace::Full | NoPlace::ShareFull => Unavailable::overloaded(),
            },
        ),
    }
}

/// What the method asks of an answer: a 405 names those that the path is asked with (RFC 9110, section 15.5.6), and an answer to HEAD is
/// the one to GET without its body (section 9.3.2).
pub(super) fn fitted(head: &Parts, response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = workload::methods(head.uri.path());
        let allow = (!methods.is_empty()).then(|| methods.join(", "));
        insert(&mut parts.headers, header::ALLOW, allow.and_then(|text| text.parse().ok()));
    }
    if head.method != Method::HEAD {
        return Response::from_parts(parts, body);
    }
    let length = http_body::Body::size_hint(&body).exact();
    insert(&mut parts.headers, header::CONTENT_LENGTH, length.map(HeaderValue::from));
    Response::from_parts(parts, Body::empty())
}

/// A part of a record, as it is.
pub(super) fn file((media, bytes): (&'static str, Vec<u8>)) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// `GET /v1/models`.
pub(super) fn models(services: &[Arc<str>]) -> Response<Body> {
    let data: Vec<serde_json::Value> =
        services.iter().map(|service| model_object(service)).collect();
    json(StatusCode::OK, &serde_json::json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`.
pub(super) fn model(service: &str) -> Response<Body> {
    json(StatusCode::OK, &model_object(service))
}

fn status_and_code(
    prepared: &Prepared,
    first: Option<&Why>,
    why: Option<&NotUnderstood>,
) -> (u16, String) {
    if let Some(why) = why {
        return (why.status, snake(why.reason));
    }
    if prepared.judgement.outcome == Outcome::Hold {
        return (StatusCode::FORBIDDEN.as_u16(), "held_for_review".to_owned());
    }
    let code = match first.map(|why| why.code) {
        // Not the request's fault: the same may pass in a moment.
        Some(reason @ Reason::PolicyUnavailable) => {
            return (StatusCode::SERVICE_UNAVAILABLE.as_u16(), snake(reason));
        }
        Some(
            Reason::DeniedByRule
            | Reason::NoGround
            | Reason::OrderInForce
            | Reason::MissingFact
            | Reason::Contradiction,
        )
        | None => "data_residency_denied".to_owned(),
        Some(reason) => snake(reason),
    };
    (StatusCode::FORBIDDEN.as_u16(), code)
}

/// Reason, rule, citation, cell, the smallest sufficient change, what it asks for and the decision's id, in one paragraph.
pub(super) fn explain(
    known: &Known,
    prepared: &Prepared,
    decision_id: &str,
    why: Option<&NotUnderstood>,
) -> String {
    let language = known.language();
    let decision = &prepared.judgement.decision;
    // what could not be read is said in the words of who tried
    let mut message = match (why, decision.reasons.first()) {
        (Some(why), Some(first)) => {
            let rule = first.rule.as_ref().map(|rule| format!(" [rule {rule}]"));
            format!("{}{}", why.message, rule.unwrap_or_default())
        }
        (Some(why), None) => why.message.clone(),
        (None, _) => {
            let paragraph = told::paragraph(decision, prepared.judged_at, language);
            let asked = told::asked_for(decision, &prepared.meanings, language);
            let space = if asked.is_empty() { "" } else { " " };
            format!("{paragraph}{space}{asked}")
        }
    };
    let _ = write!(message, " [decision {decision_id}]");
    message
}

/// A hold's id, and what lets the request pass.
fn where_to_look(known: &Known, Hold { id, persons }: &Hold) -> String {
    if known.korean {
        return format!(
            " 보류 번호 {id}: 검토 권한이 있는 {persons}명이 `GET /v1/holds/{id}`에서 확인하고 해제하면 같은 요청이 한 번 통과합니다."
        );
    }
    let people = if *persons == 1 { "one person" } else { "different persons" };
    let count = if *persons == 1 { String::new() } else { format!("{persons} ") };
    format!(
        " It waits as hold {id} for {count}{people} with the right to release it (`GET /v1/holds/{id}`): then the same request passes once."
    )
}

fn stamp(headers: &mut HeaderMap, prepared: Option<&Prepared>, proof: Option<&Proof>) {
    if let Some(proof) = proof {
        let id = HeaderValue::from_str(&proof.id).ok();
        insert(headers, DECISION, id.clone());
        insert(headers, REQUEST_ID, id);
        insert(headers, RECEIPT, HeaderValue::from_maybe_shared(proof.receipt.clone()).ok());
        insert(headers, GRADE, Some(HeaderValue::from_static(proof.grade.code())));
    }
    if let Some(prepared) = prepared {
        insert(headers, BUNDLE, HeaderValue::from_str(&prepared.bundle_digest).ok());
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn render(native: Native) -> Response<Body> {
    let mut response = Response::new(Body::from(native.body));
    *response.status_mut() =
        StatusCode::from_u16(native.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(native.content_type));
    for (name, value) in native.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// What the gateway's own protocol answers.
pub(super) fn managed<T: serde::Serialize>(value: &T) -> Response<Body> {
    // What is answered has string keys only, so it can always be written.
    json(StatusCode::OK, &serde_json::to_value(value).unwrap_or_default())
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn model_object(service: &str) -> serde_json::Value {
    serde_json::json!({ "id": service, "object": "model", "created": 0, "owned_by": "haetae" })
}

/// `NO_GROUND` as `no_ground`.
fn snake(reason: Reason) -> String {
    reason.code().to_ascii_lowercase()
}

impl Unavailable {
    pub(super) const fn site() -> Self {
        Self {
            code: "site_unavailable",
            message: "no permitted site can take the request now: nothing was forwarded, try again",
        }
    }

    pub(super) const fn facts_moving() -> Self {
        Self {
            code: "audit_unavailable",
            message: "the facts are changing faster than they can be judged: nothing was forwarded, try again",
        }
    }

    pub(super) const fn overloaded() -> Self {
        Self {
            code: "overloaded",
            message: "the gateway is at its limit: nothing was read, try again",
        }
    }

    pub(super) const fn changes() -> Self {
        Self {
            code: "overloaded",
            message: "this organisation changes its access entries faster than everybody can be judged on them: nothing was changed, try again in a second",
        }
    }

    pub(super) const fn store() -> Self {
        Self {
            code: "store_unavailable",
            message: "the database does not answer now: nothing was done, try again",
        }
    }

    pub(super) const fn uncovered() -> Self {
        Self {
            code: "receipt_unavailable",
            message: "no published checkpoint covers the record yet: one follows within a second, try again",
        }
    }

    pub(super) const fn unproven() -> Self {
        Self {
            code: "record_unproven",
            message: "the record is not what was signed, so it is not shown: ask whoever runs this gateway to run `haetae log verify`",
        }
    }

    pub(super) const fn reservations() -> Self {
        Self {
            code: "reservation_unavailable",
            message: "what this would use up cannot be reserved now: nothing was forwarded, try again",
        }
    }

    const fn keys() -> Self {
        Self {
            code: "issuer_keys_unavailable",
            message: "the issuer's keys cannot be had now: nothing was read, try again",
        }
    }

    const fn draining() -> Self {
        Self { code: "draining", message: "this gateway is stopping: nothing was read, try again" }
    }
}

impl From<ReserveError> for Unavailable {
    fn from(error: ReserveError) -> Self {
        tracing::warn!(%error, "a decision could not reserve what it uses up");
        Self::reservations()
    }
}

impl From<sqlx::Error> for Unavailable {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(%error, "the database did not answer the gate");
        Self::store()
    }
}

impl From<RecordError> for Unavailable {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Full => Self::overloaded(),
            RecordError::FactsMoved { .. } | RecordError::Unreserved => Self::facts_moving(),
            RecordError::TooLarge => Self {
                code: "record_too_large",
                message: "the decision cannot be recorded: it names too much; declare fewer datasets",
            },
            RecordError::Timeout | RecordError::Unavailable | RecordError::Malformed(_) => Self {
                code: "audit_unavailable",
                message: "the decision cannot be recorded now: nothing was forwarded, try again",
            },
        }
    }
}

const UNAUTHENTICATED: &str =
    "the credential is missing or not accepted: send a valid bearer token or client certificate";
const DECISION: HeaderName = HeaderName::from_static("haetae-decision");
const OBLIGATIONS: HeaderName = HeaderName::from_static("haetae-obligations");
const HOLD: HeaderName = HeaderName::from_static("haetae-hold");
const BUNDLE: HeaderName = HeaderName::from_static("haetae-bundle");
const GRADE: HeaderName = HeaderName::from_static("haetae-grade");
const RECEIPT: HeaderName = HeaderName::from_static("haetae-receipt");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");
