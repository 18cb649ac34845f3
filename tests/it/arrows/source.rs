//! Enough of a Rust reader to list the paths that a file names: comments, strings and lifetimes are not code.

/// Every path named in `source`, groups unfolded: `use a::{b, c::d};` gives `a::b` and `a::c::d`.
pub fn paths(source: &str) -> Vec<Vec<String>> {
    let tokens = tokens(&code_only(source));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let continues = at > 0 && tokens[at - 1] == "::" && at > 1 && ends_a_name(&tokens[at - 2]);
        at = if is_name(&tokens[at]) && !continues {
            unfold(&tokens, at, &[], &mut found)
        } else {
            at + 1
        };
    }
    found
}

/// Reads one path from `at`, and returns where it ends.
fn unfold(tokens: &[String], at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = at;
    loop {
        let token = tokens.get(at).map_or("", String::as_str);
        if is_name(token) || token == "*" {
            path.push(token.to_owned());
            at += 1;
        }
        if tokens.get(at).map(String::as_str) != Some("::") {
            break;
        }
        match tokens.get(at + 1).map_or("", String::as_str) {
            "{" => return group(tokens, at + 2, &path, found),
            next if is_name(next) || next == "*" => at += 1,
            _ => break, // `::<T>`
        }
    }
    found.push(path);
    at.max(1)
}

fn group(tokens: &[String], at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut at = at;
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "}" => return at + 1,
            "as" => at += 2, // a new name, not a path
            name if is_name(name) || name == "*" => at = unfold(tokens, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_alphanumeric() || c == '_' {
            let mut name = c.to_string();
            while let Some(next) = rest.next_if(|n| n.is_alphanumeric() || *n == '_') {
                name.push(next);
            }
            tokens.push(name);
        } else if c == ':' && rest.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && token != "as"
}

fn ends_a_name(token: &str) -> bool {
    is_name(token) || token == ">"
}

/// The source with each comment, string and character literal replaced by a space, and lifetimes without their tick.
pub fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.push(' ');
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => until(chars, at, |c| c == '\n'),
        '/' if next == Some('*') => comment_end(chars, at),
        '"' => string_end(chars, at),
        'r' if matches!(next, Some('"' | '#')) && !inside_name(chars, at) => raw_end(chars, at),
        '\'' => character_end(chars, at),
        _ => at,
    }
}

fn until(chars: &[char], at: usize, stop: impl Fn(char) -> bool) -> usize {
    (at..chars.len()).find(|i| stop(chars[*i])).unwrap_or(chars.len())
}

/// Block comments nest (the Rust reference, "Comments").
fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"..."` and `r##"..."##`; `r#name` is a name.
fn raw_end(chars: &[char], at: usize) -> usize {
    let quote = until(chars, at + 1, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return at;
    }
    let hashes = quote - at - 1;
    let closes =
        |i: &usize| chars[*i] == '"' && (1..=hashes).all(|n| chars.get(i + n) == Some(&'#'));
    (quote + 1..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

/// `'x'` and `'\n'` are literals; `'a` without a closing tick is a lifetime, of which only the tick goes.
fn character_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => until(chars, at + 3, |c| c == '\'') + 1,
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

fn inside_name(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}
