//! What no single key can say: faults between the keys of a document and between documents.

use serde_json::Value as Json;

use super::{Sort, tree::Tree, words};

/// Sentences about one document, given all others.
pub(super) fn faults(sort: Sort, document: &Json, tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    match sort {
        Sort::Organisation => organisation(document, tree, &mut faults),
        Sort::Dataset => faults.extend(labels(document, "the dataset")),
        Sort::Ground => ground(document, &mut faults),
        Sort::Order => order(document, &mut faults),
        Sort::Site => site(document, &mut faults),
        Sort::List | Sort::Outside => {}
    }
    faults
}

fn organisation(document: &Json, tree: &Tree, faults: &mut Vec<String>) {
    let allowed = document.get("sites").map(|_| texts(document, "sites"));
    let mut names = Vec::new();
    for service in items(document, "services") {
        let name = text(service, "name");
        if names.contains(&name) {
            faults.push(format!("service `{name}` is given twice: keep one of them"));
        }
        names.push(name);
        if let Some(profile) = service.get("data") {
            faults.extend(labels(profile, &format!("the data profile of service `{name}`")));
        }
        for id in texts(service, "sites") {
            if allowed.as_ref().is_some_and(|allowed| !allowed.contains(&id)) {
                faults.push(format!(
                    "service `{name}` names site `{id}`, which is not among the organisation's `sites`"
                ));
            }
            let site = tree.documents.get(&(Sort::Site, id.to_owned()));
            if site.is_some_and(|site| !texts(site, "serves").contains(&name)) {
                faults.push(format!(
                    "service `{name}` names site `{id}`, which does not serve it: add it to `serves` there"
                ));
            }
        }
    }
}

/// Personal data is under some law and came from somewhere: without either every rule would pass it by.
fn labels(document: &Json, noun: &str) -> Vec<String> {
    let kind = text(document, "identifiability");
    if !matches!(kind, "personal" | "pseudonymised") {
        return Vec::new();
    }
    ["regimes", "origins", "categories"]
        .into_iter()
        .filter(|key| texts(document, key).is_empty())
        .map(|key| format!("{noun} is {kind} and so needs at least one of `{key}`"))
        .collect()
}

fn ground(document: &Json, faults: &mut Vec<String>) {
    let (name, regime) = (text(document, "type"), text(document, "regime"));
    if let Some(known) = words::ground_type(name) {
        if known.regime != regime {
            faults.push(format!("a ground of type `{name}` is one under `{}`", known.regime));
        }
        for key in known.details {
            let given = document.pointer(&format!("/details/{key}"));
            if given.is_none_or(|given| *given == Json::Bool(false)) {
                faults.push(format!("a ground of type `{name}` is not live without `details.{key}`"));
            }
        }
    }
    let from = super::when::start(text(document, "valid_from"));
    let until = super::when::end(text(document, "valid_until"));
    if from.zip(until).is_some_and(|(from, until)| until <= from) {
        faults.push("`valid_until` lies before `valid_from`".into());
    }
}

fn order(document: &Json, faults: &mut Vec<String>) {
    let mut people = texts(document, "entered_by");
    people.sort_unstable();
    people.dedup();
    if people.len() < 2 {
        faults.push("an order is entered by two different people: name both in `entered_by`".into());
    }
}

fn site(document: &Json, faults: &mut Vec<String>) {
    for key in ["identities", "serves"] {
        if document.get(key).and_then(Json::as_array).is_some_and(Vec::is_empty) {
            faults.push(format!("a site needs at least one of `{key}`"));
        }
    }
}

fn text<'a>(document: &'a Json, key: &str) -> &'a str {
    document.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn items<'a>(document: &'a Json, key: &str) -> impl Iterator<Item = &'a Json> {
    document.get(key).and_then(Json::as_array).into_iter().flatten()
}

fn texts<'a>(document: &'a Json, key: &str) -> Vec<&'a str> {
    items(document, key).filter_map(Json::as_str).collect()
}
