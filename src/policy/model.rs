//! The casbin models of a bundle, checked before casbin reads them: a `#` would cut a matcher short unseen, and an effect
//! that casbin does not know would panic at the first decision.

use super::fault::Faults;
use super::sheet::listed;

/// What a model must say, but for its matcher.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Section, key and value, each of which must stand in the file.
    definitions: &'static [(&'static str, &'static str, &'static str)],
}

/// Checks a model; the matcher is the bundle's own, but must be one line.
pub(crate) fn check(text: &str, shape: &Shape, faults: &mut Faults<'_>) {
    let mut section = "";
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let (line, raw) = (index + 1, raw.trim());
        if raw.is_empty() || raw.starts_with('#') {
            continue;
        }
        if raw.contains('#') {
            let mend =
                "put the comment on a line of its own: the engine drops the rest of this one";
            faults.add(line, "a `#` inside a definition", mend);
            continue;
        }
        if let Some(name) = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            continue;
        }
        let Some((key, value)) = raw.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
        else {
            faults.add(
                line,
                format!("`{raw}` is no definition"),
                "write `key = value` on one line",
            );
            continue;
        };
        check_definition(line, (section, key, value), shape, faults);
        if seen.contains(&(section, key)) {
            faults.add(line, format!("`{key}` is defined twice"), "remove one of the two");
        }
        seen.push((section, key));
    }
    let wanted = shape.definitions.iter().map(|(section, key, _)| (*section, *key));
    for (section, key) in wanted.chain([MATCHER]).filter(|wanted| !seen.contains(wanted)) {
        faults.add(0, format!("`{key}` of [{section}] is missing"), "define it");
    }
}

fn check_definition(
    line: usize,
    (section, key, value): (&str, &str, &str),
    shape: &Shape,
    faults: &mut Faults<'_>,
) {
    if (section, key) == MATCHER {
        return;
    }
    let known = shape.definitions.iter().find(|(s, k, _)| (*s, *k) == (section, key));
    match known {
        None => {
            let names: Vec<String> = shape
                .definitions
                .iter()
                .map(|(section, key, _)| format!("[{section}] {key}"))
                .chain([format!("[{}] {}", MATCHER.0, MATCHER.1)])
                .collect();
            let names = || names.iter().map(String::as_str);
            let mend = format!("define only {}", listed(names()));
            faults.unknown(line, "definition", &format!("[{section}] {key}"), names(), mend);
        }
        Some((_, _, must)) if *must != value => {
            faults.add(line, format!("`{key} = {value}`"), format!("write `{key} = {must}`"));
        }
        Some(_) => {}
    }
}

const MATCHER: (&str, &str) = ("matchers", "m");
/// casbin insists on an effect that it knows; our effector ignores it.
const EFFECT: &str = "some(where (p.eft == allow))";

pub(crate) const RESIDENCY: Shape = Shape {
    definitions: &[
        ("request_definition", "r", "regime, flow, holds, unknown, reading"),
        ("policy_definition", "p", "id, out, kind, regime, flow, when"),
        ("policy_effect", "e", EFFECT),
    ],
};

pub(crate) const ACCESS: Shape = Shape {
    definitions: &[
        ("request_definition", "r", "role, org, service, class, operation"),
        ("policy_definition", "p", "id, out, role, org, service, operation"),
        ("role_definition", "g", "_, _, _"),
        ("policy_effect", "e", EFFECT),
    ],
};
