//! The closed list of routes. A path is compared as it stands: no decoding, no folding, no trailing slash.

use std::sync::Arc;

use hyper::http::Method;
use verdict::reason::Reason;

use crate::workload::{NotUnderstood, Operation, Protocol, Route, declare};

/// Finds the route. See [`crate::workload::route`].
///
/// # Errors
/// 404, 405, 403 or 400, each with what is carried instead.
pub fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, NotUnderstood> {
    let (template, model) = find(path).ok_or_else(|| unknown(path))?;
    if method.as_str() != template.method {
        let message = format!("`{}` is asked with {} only", template.path, template.method);
        return Err(NotUnderstood::new(405, Reason::MethodRefused, message));
    }
    if query.is_some() {
        let message = "query parameters are not carried: leave out everything from the `?` on";
        return Err(NotUnderstood::new(400, Reason::PathInvalid, message));
    }
    let operation =
        if template.body_max_bytes == 0 { Operation::Metadata } else { Operation::Submit };
    Ok(Route {
        protocol: Protocol::OpenAi,
        operation,
        name: template.name,
        upstream_path: template.path,
        model,
        body_max_bytes: template.body_max_bytes,
        errand: None,
    })
}

/// The one method that a path is asked with; none when it is none of ours.
#[must_use]
pub fn method(path: &str) -> Option<&'static str> {
    find(path).map(|(template, _)| template.method)
}

/// True for the name of a model: `gpt-4o`, `meta-llama/Llama-3.1-8B`, `ft:base:org::id`.
#[must_use]
pub fn is_model(text: &str) -> bool {
    declare::is_name(text, b"._:/@+-", MODEL_MAX)
}

struct Template {
    method: &'static str,
    path: &'static str,
    name: &'static str,
    body_max_bytes: usize,
}

fn find(path: &str) -> Option<(&'static Template, Option<Arc<str>>)> {
    if let Some(template) = TEMPLATES.iter().find(|template| template.path == path) {
        return Some((template, None));
    }
    let model = path.strip_prefix("/v1/models/").filter(|model| is_model(model))?;
    Some((&MODEL, Some(Arc::from(model))))
}

fn unknown(path: &str) -> NotUnderstood {
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(prefix) = NOT_CARRIED.into_iter().find(|prefix| below(prefix)) {
        let message = format!("`{prefix}` is not carried by this gateway: it carries {CARRIED}");
        return NotUnderstood::new(403, Reason::OperationUnsupported, message);
    }
    let hint = if path.starts_with("/v1/") { "" } else { " (is `/v1` missing in the base url?)" };
    let message = format!("no such route: this gateway carries {CARRIED}{hint}");
    NotUnderstood::new(404, Reason::RouteUnknown, message)
}

const TEMPLATES: [Template; 5] = [
    Template {
        method: "POST",
        path: "/v1/chat/completions",
        name: "chat.completions",
        body_max_bytes: CHAT_MAX,
    },
    Template {
        method: "POST",
        path: "/v1/completions",
        name: "completions",
        body_max_bytes: TEXT_MAX,
    },
    Template {
        method: "POST",
        path: "/v1/embeddings",
        name: "embeddings",
        body_max_bytes: TEXT_MAX,
    },
    Template { method: "POST", path: "/v1/responses", name: "responses", body_max_bytes: CHAT_MAX },
    Template { method: "GET", path: "/v1/models", name: "models.list", body_max_bytes: 0 },
];

const MODEL: Template = Template {
    method: "GET",
    path: "/v1/models/{model}",
    name: "models.retrieve",
    body_max_bytes: 0,
};

const CARRIED: &str = "POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses (with `store` false), GET /v1/models";

/// Known to OpenAI's API, kept or looked up by a site later, and so not carried yet.
const NOT_CARRIED: [&str; 24] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/files",
    "/v1/uploads",
    "/v1/batches",
    "/v1/fine_tuning",
    "/v1/audio",
    "/v1/images",
    "/v1/videos",
    "/v1/assistants",
    "/v1/threads",
    "/v1/vector_stores",
    "/v1/conversations",
    "/v1/containers",
    "/v1/realtime",
    "/v1/moderations",
    "/v1/evals",
    "/v1/graders",
    "/v1/chatkit",
    "/v1/skills",
    "/v1/organization",
    "/v1/projects",
    "/v1/engines",
    "/v1/edits",
];

/// A conversation with images inline: 16 MiB is 12 MiB of images in base64 and the text.
const CHAT_MAX: usize = 16 << 20;

/// 2,048 inputs (OpenAI's own limit) of 4 kB: 8 MiB.
const TEXT_MAX: usize = 8 << 20;

/// Bytes of a model's name. Hugging Face's limit for `owner/name` is 96.
const MODEL_MAX: usize = 128;
