//! Keys by which a request tells a routing server (`LiteLLM`, `OpenRouter`) to send it to another place than the one that was decided
//! on, to add to it what nobody looked at, or to make the answer up.
//!
//! Servers that are no routers know none of them, so nothing is lost by a refusal. No list of them is whole: where a site has a router, what
//! it does by itself is a fact about the site.

use verdict::reason::Reason;

use crate::workload::{NotUnderstood, json::Value};

/// Refuses a key of this kind, unless its value is null.
pub fn refused(key: &str, value: Value<'_>) -> Option<NotUnderstood> {
    let param = known(key).filter(|_| !value.is_null())?;
    let message = format!(
        "`{param}` lets the server send the request elsewhere, or change it, after the decision: leave it out, and name the site or the model that you want"
    );
    Some(NotUnderstood::new(403, Reason::OperationUnsupported, message).of(param))
}

pub fn is_known(key: &str) -> bool {
    known(key).is_some()
}

/// The key, or the family that it is of.
fn known(key: &str) -> Option<&'static str> {
    let whole = KEYS.into_iter().find(|known| *known == key);
    let of_family =
        || FAMILIES.into_iter().find(|family| key.starts_with(family.trim_end_matches('*')));
    whole.or_else(of_family)
}

/// `LiteLLM`'s, then `OpenRouter`'s.
const KEYS: [&str; 25] = [
    "fallbacks",
    "default_fallbacks",
    "context_window_fallbacks",
    "context_window_fallback_dict",
    "content_policy_fallbacks",
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "custom_llm_provider",
    "deployment_id",
    "model_list",
    "user_config",
    "extra_body",
    "extra_headers",
    "headers",
    "callbacks",
    "success_callback",
    "failure_callback",
    "guardrail_config",
    "models",
    "provider",
    "route",
    "plugins",
    "transforms",
];

const FAMILIES: [&str; 6] = ["mock_*", "litellm_*", "vertex_*", "azure_*", "aws_*", "langfuse_*"];
