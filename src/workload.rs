//! What is asked: the bytes of a request become [`Claims`].
//!
//! *Invariant:* adapters are pure: no I/O, no clock, no registry. What a client says is a claim, never a fact.

use std::sync::Arc;

use bytes::Bytes;
use verdict::{question::Workload, reason::Reason};

mod declare;
pub mod haetae;
pub mod json;
pub mod openai;

/// A protocol that the gate understands. A new one is one arm here and one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    OpenAi,
    /// The gateway's own: nothing of it is forwarded.
    Haetae,
}

/// What a route does, for access control and for which kind of decision it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Submit,
    /// Answered by the gate from what the caller may use: nothing is forwarded.
    Metadata,
    /// An errand of the gateway's own protocol.
    Admin,
}

/// The matched route, known before the body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub protocol: Protocol,
    pub operation: Operation,
    /// The name of the operation in the protocol's own words, e.g. `chat.completions`.
    pub name: &'static str,
    /// The path that goes upstream: the route's own template, never the caller's spelling.
    pub upstream_path: &'static str,
    /// What stood where the template has `{model}`; checked against the grammar of model names.
    pub model: Option<Arc<str>>,
    /// Bytes; 0 means no body is allowed.
    pub body_max_bytes: usize,
    /// What is to be done, of the gateway's own protocol.
    pub errand: Option<haetae::Errand>,
}

/// What the caller says. Only ids and wishes: class, origin and jurisdiction are the registry's to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claims {
    pub protocol: Protocol,
    pub operation: Operation,
    pub name: &'static str,
    /// The model asked for; also the service of the organisation unless `service` names one. Empty for a list of models.
    pub model: Arc<str>,
    pub workload: Workload,
    pub stream: bool,
    /// Declared dataset ids, sorted, without duplicates.
    pub datasets: Vec<Arc<str>>,
    /// Declared purpose code (DPV term).
    pub purpose: Option<Arc<str>>,
    pub output: Option<Output>,
    /// `Haetae-No-Data: true`: may contradict the default profile, never relax it.
    pub no_data: bool,
    /// `Haetae-Site`: the site the caller insists on.
    pub site: Option<Arc<str>>,
    /// Calls that the workload itself will make (`image_url`, tools, web search): what, and the host where one is known.
    /// Sorted, without duplicates.
    pub onward: Vec<Outside>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    Aggregate,
    Model,
    Raw,
}

/// A place outside the site that the workload would reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outside {
    /// `image_url`, `tool:web_search`, `tool:mcp`, ...
    pub what: Arc<str>,
    /// Lower-case host name, absent when the request does not name one.
    pub host: Option<Arc<str>>,
}

/// Why a request is not understood. Rendered by `gate::answer` in the protocol's own shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotUnderstood {
    /// HTTP status: 400, 403, 404, 405, 413, 415.
    pub status: u16,
    pub reason: Reason,
    /// One sentence: what is wrong and what to do instead. Lower case, no full stop, no value that could be personal.
    pub message: String,
    /// The JSON key or header at fault.
    pub param: Option<&'static str>,
}

/// A refusal or failure, protocol-neutral, for the adapter to put into its own words.
#[derive(Debug, Clone)]
pub struct Refusal<'a> {
    pub status: u16,
    /// Machine code, lower snake case, e.g. `data_residency_denied`.
    pub code: &'a str,
    /// For people: reason, rule id, decision id, smallest sufficient change.
    pub message: &'a str,
    pub param: Option<&'a str>,
}

/// A refusal rendered: status, content type, extra headers, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Native {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Bytes,
}

/// Finds the route of a request by its method and path, before the body is read. The path is matched literally: a
/// percent sign, a trailing slash or a second spelling matches nothing.
///
/// # Errors
/// 404 unknown, 405 wrong method, 403 known to the protocol but not carried, 400 a query.
pub fn route(
    method: &hyper::http::Method,
    path: &str,
    query: Option<&str>,
) -> Result<Route, NotUnderstood> {
    haetae::route(method, path, query).unwrap_or_else(|| openai::route(method, path, query))
}

/// The methods that a path is asked with; none for a path that is no route.
#[must_use]
pub fn methods(path: &str) -> Vec<&'static str> {
    let own = haetae::methods(path);
    if own.is_empty() { openai::method(path).into_iter().collect() } else { own }
}

/// Reads what a request claims, from its headers and its whole body.
///
/// # Errors
/// 400, 403, 413 or 415 with a sentence for the caller.
pub fn read(
    route: &Route,
    head: &hyper::http::HeaderMap,
    body: &Bytes,
) -> Result<Claims, NotUnderstood> {
    match route.protocol {
        Protocol::OpenAi => openai::read(route, head, body),
        Protocol::Haetae => Err(NotUnderstood::new(
            404,
            Reason::RouteUnknown,
            "this route has nothing that could be forwarded",
        )),
    }
}

/// A refusal in the protocol's own shape, as its real clients show it well.
#[must_use]
pub fn refuse(protocol: Protocol, refusal: &Refusal<'_>) -> Native {
    match protocol {
        Protocol::OpenAi | Protocol::Haetae => openai::refuse(refusal),
    }
}

/// The last event of a stream that is cut, in the protocol's own shape, with the id of the decision that allowed it.
#[must_use]
pub fn stream_error(protocol: Protocol, refusal: &Refusal<'_>, decision: &str) -> Bytes {
    match protocol {
        Protocol::OpenAi | Protocol::Haetae => openai::stream_error(refusal, decision),
    }
}

impl NotUnderstood {
    fn new(status: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), param: None }
    }

    fn of(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }
}
