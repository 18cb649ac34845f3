//! What no single key can say: faults between the keys of a document and between documents.

use serde_json::Value as Json;
use verdict::stamp::Stamp;

use super::{Sort, access, tree::Tree, words};

/// Where in the document (RFC 6901) and what.
pub(super) type Fault = (String, String);

/// The faults of one document, given all others.
pub(super) fn faults(sort: Sort, document: &Json, tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    match sort {
        Sort::Organisation => organisation(document, tree, &mut faults),
        Sort::Dataset => faults.extend(labels(document, "", "the dataset")),
        Sort::Ground => ground(document, &mut faults),
        Sort::Order => order(document, &mut faults),
        Sort::Site => site(document, &mut faults),
        Sort::Authority if texts(document, "keys").is_empty() => {
            faults.push(("/keys".into(), "an authority needs at least one of `keys`".into()));
        }
        Sort::AccessRow => access_row(document, tree, &mut faults),
        Sort::RoleGrant => role_grant(document, &mut faults),
        Sort::List | Sort::Outside | Sort::Authority => {}
    }
    faults
}

fn organisation(document: &Json, tree: &Tree, faults: &mut Vec<Fault>) {
    let allowed = document.get("sites").map(|_| texts(document, "sites"));
    let mut names = Vec::new();
    for (index, service) in items(document, "services").enumerate() {
        let (at, name) = (format!("/services/{index}"), text(service, "name"));
        if names.contains(&name) {
            faults.push((at.clone(), format!("service `{name}` is given twice: keep one of them")));
        }
        names.push(name);
        if let Some(profile) = service.get("data") {
            let noun = format!("the data profile of service `{name}`");
            faults.extend(labels(profile, &format!("{at}/data"), &noun));
        }
        for (nth, id) in texts(service, "sites").into_iter().enumerate() {
            let mut wrong = |why: &str| {
                let text = format!("service `{name}` names site `{id}`, {why}");
                faults.push((format!("{at}/sites/{nth}"), text));
            };
            if allowed.as_ref().is_some_and(|allowed| !allowed.contains(&id)) {
                wrong("which is not among the organisation's `sites`");
            }
            let site = tree.documents.get(&(Sort::Site, id.to_owned()));
            if site.is_some_and(|site| !texts(site, "serves").contains(&name)) {
                wrong("which does not serve it: add it to `serves` there");
            }
        }
    }
}

/// Personal data is under some law and came from somewhere: without either every rule would pass it by.
fn labels(document: &Json, at: &str, noun: &str) -> Vec<Fault> {
    let kind = text(document, "identifiability");
    if !matches!(kind, "personal" | "pseudonymised") {
        return Vec::new();
    }
    ["regimes", "origins", "categories"]
        .into_iter()
        .filter(|key| texts(document, key).is_empty())
        .map(|key| {
            let text = format!("{noun} is {kind} and so needs at least one of `{key}`");
            (format!("{at}/{key}"), text)
        })
        .collect()
}

fn ground(document: &Json, faults: &mut Vec<Fault>) {
    let (name, regime) = (text(document, "type"), text(document, "regime"));
    if let Some(known) = words::ground_type(name) {
        if known.regime != regime {
            let text = format!("a ground of type `{name}` is one under `{}`", known.regime);
            faults.push(("/regime".into(), text));
        }
        for key in &known.details {
            let given = document.pointer(&format!("/details/{key}"));
            if given.is_none_or(|given| *given == Json::Bool(false)) {
                let text = format!("a ground of type `{name}` is not live without `details.{key}`");
                faults.push((String::new(), text));
            }
        }
    }
    faults.extend(span(document, "valid_from", "valid_until"));
}

/// An end that lies before its beginning.
fn span(document: &Json, from: &str, until: &str) -> Option<Fault> {
    let stamp = |key: &str| Stamp::parse(text(document, key)).ok();
    let (starts, ends) = (stamp(from)?.starts(), stamp(until)?.ends());
    (ends <= starts).then(|| (format!("/{until}"), format!("`{until}` lies before `{from}`")))
}

fn order(document: &Json, faults: &mut Vec<Fault>) {
    faults.extend(span(document, "effective_from", "until"));
    let mut people = texts(document, "entered_by");
    people.sort_unstable();
    people.dedup();
    if people.len() < 2 {
        let text = "an order is entered by two different people: name both in `entered_by`";
        faults.push(("/entered_by".into(), text.into()));
    }
}

fn site(document: &Json, faults: &mut Vec<Fault>) {
    if texts(document, "serves").is_empty() {
        faults.push(("/serves".into(), "a site needs at least one of `serves`".into()));
    }
    // A record names the one identity that the connection had to prove.
    if texts(document, "identities").len() != 1 {
        faults
            .push(("/identities".into(), "a site is known by exactly one of `identities`".into()));
    }
}

/// An id that begins with the name of another organisation would be an entry of that one.
fn own_id(document: &Json, faults: &mut Vec<Fault>) {
    let (id, org) = (text(document, "id"), text(document, "org"));
    if access::owner(id) != org {
        let text = format!("the id `{id}` is not one of `{org}`: begin it with `{org}/`");
        faults.push(("/id".into(), text));
    }
}

fn access_row(document: &Json, tree: &Tree, faults: &mut Vec<Fault>) {
    own_id(document, faults);
    let (services, operations) = (texts(document, "services"), texts(document, "operations"));
    let every = document.get("every_service") == Some(&Json::Bool(true));
    if every != services.is_empty() {
        let text = "an access row names `services`, or says `every_service = true` and names none";
        faults.push(("/services".into(), text.into()));
    }
    if operations.is_empty() {
        faults.push(("/operations".into(), "an access row names at least one operation".into()));
    }
    for key in ["services", "operations"] {
        let mut all = texts(document, key);
        all.sort_unstable();
        if all.array_windows().any(|[one, next]| one == next) {
            faults.push((format!("/{key}"), format!("one is given twice in `{key}`")));
        }
    }
    if services.len() > access::SERVICES_MAX {
        let text = format!("an access row names at most {} services", access::SERVICES_MAX);
        faults.push(("/services".into(), text));
    }
    let deny = text(document, "out") == "deny";
    if deny && document.get("delegable") == Some(&Json::Bool(true)) {
        let text = "a row that denies has nothing to pass on: leave `delegable` out";
        faults.push(("/delegable".into(), text.into()));
    }
    let org = tree.documents.get(&(Sort::Organisation, text(document, "org").to_owned()));
    let known: Option<Vec<&str>> =
        org.map(|org| items(org, "services").map(|one| text(one, "name")).collect());
    for (nth, name) in services.iter().enumerate() {
        let models = known.as_ref().filter(|_| !name.starts_with("haetae:"));
        if models.is_some_and(|known| !known.contains(name)) {
            let hint = words::hint(name, models.into_iter().flatten().copied());
            let org = text(document, "org");
            let text = format!("`{name}` is no service of `{org}`{hint}");
            faults.push((format!("/services/{nth}"), text));
        }
    }
}

fn role_grant(document: &Json, faults: &mut Vec<Fault>) {
    own_id(document, faults);
    let given = ["member", "actor", "issuer"].map(|key| document.get(key).is_some());
    if !matches!(given, [true, false, false] | [false, true, true]) {
        let text = "a role is given to a `member` (another role), or to an `actor` of an `issuer`";
        faults.push((String::new(), text.into()));
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
