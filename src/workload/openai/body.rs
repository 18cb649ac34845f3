//! The top level of a body: model, stream, declarations in `metadata`, and the keys by which a site would keep or look
//! up something.
//!
//! Keys that are not known are passed on: clients add new ones. A key that is a known one but for its case is refused,
//! because a site that folds case would read what we did not.

use std::{borrow::Cow, sync::Arc};

use verdict::reason::Reason;

use super::{elsewhere, onward, routes};
use crate::workload::{
    NotUnderstood, Outside, Route,
    declare::{self, Declared, Field},
    json::{self, JsonError, Key, Kind, Value},
};

/// What a body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub model: Option<Arc<str>>,
    pub stream: bool,
    pub declared: Declared,
    pub onward: Vec<Outside>,
}

/// Reads a body of `route`.
///
/// # Errors
/// 400 where it is not strict JSON or not of the right shape, 403 where a site would have to keep something.
pub fn read(route: &Route, bytes: &[u8]) -> Result<Read, NotUnderstood> {
    let document = json::read(bytes).map_err(|error| not_json(&error))?;
    let root = document.root();
    if root.kind() != Kind::Object {
        return Err(invalid("the body must be a json object"));
    }
    let is_responses = route.name == "responses";
    let mut read = Read::default();
    let (mut store, mut modality, mut input) = (None, None, None);
    for (key, value) in root.members() {
        match name(key, is_guarded)?.as_ref() {
            "model" => read.model = Some(model(value)?),
            "stream" => read.stream = flag(value, "stream")?,
            "store" => store = Some(flag(value, "store")?),
            "metadata" => read.declared = metadata(value)?,
            "background" if flag(value, "background")? => return Err(kept("background")),
            "prompt_cache_retention" => cache(value)?,
            "prompt" if is_responses && !value.is_null() => return Err(kept("prompt")),
            "web_search_options" if !value.is_null() => {
                read.onward.push(Outside { what: "tool:web_search".into(), host: None });
            }
            "tools" => onward::tools(value, &mut read.onward)?,
            "modality" => modality = Some(value),
            "input" => {
                input = Some(value);
                onward::media("input", value, &mut read.onward)?;
            }
            // Schemas and settings: the site's model reads them, nothing follows an address in them.
            "functions" | "response_format" | "text" => {}
            key => state(key, value)
                .or_else(|| elsewhere::refused(key, value))
                .map_or_else(|| onward::media(key, value, &mut read.onward), Err)?,
        }
    }
    if let (Some(modality), Some(input)) = (modality, input) {
        onward::input(modality, input, &mut read.onward)?;
    }
    match store {
        Some(true) => return Err(kept("store")),
        None if is_responses => return Err(store_missing()),
        _ => {}
    }
    if read.model.is_none() {
        return Err(invalid("name a model").of("model"));
    }
    read.onward.sort_unstable();
    read.onward.dedup();
    Ok(read)
}

/// The name of a key; an error if a reader that folds case would take it for a guarded one.
pub fn name(key: Key<'_>, guarded: fn(&str) -> bool) -> Result<Cow<'_, str>, NotUnderstood> {
    if key.folded().is_some_and(|folded| guarded(&folded)) {
        let message = "a key is spelled like a known one but for its case, and readers would disagree: use lower case";
        return Err(NotUnderstood::new(400, Reason::BodyAmbiguous, message));
    }
    Ok(key.as_str())
}

pub fn invalid(message: impl Into<String>) -> NotUnderstood {
    NotUnderstood::new(400, Reason::BodyInvalid, message)
}

/// Refuses what a site would keep, or look up from an earlier request.
pub fn kept(param: &'static str) -> NotUnderstood {
    let message = format!(
        "`{param}` makes the site keep data or refer to data it kept: this gateway carries requests that are whole in themselves; leave it out (or false)"
    );
    NotUnderstood::new(403, Reason::OperationUnsupported, message).of(param)
}

fn model(value: Value<'_>) -> Result<Arc<str>, NotUnderstood> {
    value
        .as_str()
        .filter(|text| routes::is_model(text))
        .map(|text| Arc::from(text.as_ref()))
        .ok_or_else(|| {
            invalid("give the name of a model: ascii letters, digits and `._:/@+-`").of("model")
        })
}

/// A boolean; absent and null are false, as in the SDKs.
fn flag(value: Value<'_>, param: &'static str) -> Result<bool, NotUnderstood> {
    match value.as_bool() {
        Some(flag) => Ok(flag),
        None if value.is_null() => Ok(false),
        None => Err(invalid("give true or false").of(param)),
    }
}

fn metadata(value: Value<'_>) -> Result<Declared, NotUnderstood> {
    let mut declared = Declared::default();
    if !matches!(value.kind(), Kind::Object | Kind::Null) {
        return Err(invalid("`metadata` must be an object of strings").of("metadata"));
    }
    for (key, value) in value.members() {
        let name = name(key, |key| key.starts_with("haetae."))?;
        if !name.starts_with("haetae.") {
            continue;
        }
        let Some(field) = Field::of_key(&name) else {
            let known = declare::list(Field::key);
            let message = format!("this `haetae.` key is not known: known are {known}");
            return Err(NotUnderstood::new(400, Reason::DeclarationInvalid, message).of("metadata"));
        };
        let text = value.as_str().ok_or_else(|| {
            NotUnderstood::new(400, Reason::DeclarationInvalid, "the value must be a string")
                .of(field.key())
        })?;
        declared.put(field, &text, field.key())?;
    }
    Ok(declared)
}

/// In memory is what every server does; anything longer is keeping.
fn cache(value: Value<'_>) -> Result<(), NotUnderstood> {
    let in_memory = value.as_str().is_some_and(|text| text == "in-memory" || text == "in_memory");
    if in_memory || value.is_null() { Ok(()) } else { Err(kept("prompt_cache_retention")) }
}

fn state(key: &str, value: Value<'_>) -> Option<NotUnderstood> {
    let param = STATE.into_iter().find(|state| *state == key)?;
    (!value.is_null()).then(|| kept(param))
}

fn is_guarded(folded: &str) -> bool {
    READ.contains(&folded)
        || STATE.contains(&folded)
        || elsewhere::is_known(folded)
        || onward::is_address(folded)
}

fn store_missing() -> NotUnderstood {
    let message =
        "responses are carried only with `store` false: the default makes the site keep the answer";
    NotUnderstood::new(403, Reason::OperationUnsupported, message).of("store")
}

fn not_json(error: &JsonError) -> NotUnderstood {
    let reason =
        if error.fault.is_ambiguous() { Reason::BodyAmbiguous } else { Reason::BodyInvalid };
    NotUnderstood::new(400, reason, format!("the body is not strict json: {error}"))
}

/// Keys that are read here.
const READ: [&str; 15] = [
    "model",
    "stream",
    "store",
    "metadata",
    "background",
    "prompt_cache_retention",
    "prompt",
    "web_search_options",
    "tools",
    "functions",
    "response_format",
    "text",
    "messages",
    "input",
    "modality",
];

/// Keys by which a request refers to something a site keeps, or names another machine to fetch it from: OpenAI's, then
/// vLLM's (`kv_transfer_params` has a host and a port), then `SGLang`'s.
const STATE: [&str; 14] = [
    "previous_response_id",
    "conversation",
    "container",
    "thread_id",
    "assistant_id",
    "file_ids",
    "vector_store_ids",
    "kv_transfer_params",
    "session_id",
    "session_params",
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "lora_path",
];
