//! A table as one page of HTML that prints well: no script, nothing fetched.

use std::fmt::Write as _;

use super::text::{count, places, rule_lines, sums};
use super::{Line, Page, Table};
use crate::policy::rulebook::word;

impl Table<'_> {
    /// The whole table as a page of HTML.
    #[must_use]
    pub fn html(&self) -> String {
        let mut html = String::from(HEAD);
        let mut head = self.head().into_iter();
        let title = head.next().unwrap_or_default();
        let _ = writeln!(html, "<title>{0}</title>\n<h1>{0}</h1>", escaped(&title));
        for line in head.by_ref().take(FACTS) {
            let _ = writeln!(html, "<p class=\"fact\">{}</p>", escaped(&line));
        }
        let reading: Vec<String> = head.map(|line| escaped(&line)).collect();
        let _ = writeln!(html, "<p>{}</p>", reading.join("\n"));
        for page in &self.pages {
            self.section(page, &mut html);
        }
        html.push_str("<h2>The rules</h2>\n");
        for rule in &self.rulebook().book().rules {
            let lines: Vec<String> = rule_lines(rule).iter().map(|it| escaped(it.trim())).collect();
            let _ = writeln!(html, "<p id=\"{}\">{}</p>", escaped(&rule.id), lines.join("<br>\n"));
        }
        html
    }

    fn section(&self, page: &Page, html: &mut String) {
        let _ = writeln!(html, "<section>\n<h2>{}</h2>", escaped(&self.title(page)));
        let _ = writeln!(html, "<p>{}</p>\n<dl>", escaped(&sums(page)));
        for it in &page.destinations {
            let (label, places) = (escaped(&it.label), escaped(&places(&it.places)));
            let _ = writeln!(html, "<dt>to {label}</dt><dd>{places}</dd>");
        }
        html.push_str("</dl>\n<table>\n<thead><tr>");
        for column in COLUMNS {
            let _ = write!(html, "<th>{column}</th>");
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for (number, line) in page.lines.iter().enumerate() {
            row(page, number, line, html);
        }
        html.push_str("</tbody>\n</table>\n");
        if !page.idle.is_empty() {
            let idle = escaped(&page.idle.join(", "));
            let _ = writeln!(html, "<p>Cannot match at this time: {idle}</p>");
        }
        html.push_str("</section>\n");
    }
}

fn row(page: &Page, number: usize, line: &Line, html: &mut String) {
    let outcome = word(&line.outcome);
    let rule = line.rule.as_deref().map(|rule| {
        let rule = escaped(rule);
        format!("<a href=\"#{rule}\">{rule}</a>")
    });
    let obligations = if line.obligations.is_empty() {
        String::new()
    } else {
        format!("<br>obligations: {}", escaped(&line.obligations.join(", ")))
    };
    let _ = writeln!(
        html,
        "<tr class=\"{outcome}\"><td>{}</td><td>{outcome}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}{obligations}</td><td>{}</td></tr>",
        number + 1,
        rule.unwrap_or_default(),
        line.code.code(),
        line.scope.profiles(),
        line.scope.flows(),
        escaped(&line.scope.ends(&page.destinations)),
        escaped(&line.when.to_string()),
        count(line.combinations),
    );
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Lines after the title that stand alone: digest and dates.
const FACTS: usize = 2;
const COLUMNS: [&str; 9] =
    ["#", "outcome", "rule", "reason", "profiles", "flows", "to", "when", "combinations"];
const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<style>
body { font: 10pt/1.4 system-ui, \"Noto Sans KR\", sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #111; }
h1, h2 { line-height: 1.2; }
.fact, td:nth-child(8) { font-family: ui-monospace, monospace; font-size: 8.5pt; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #bbb; padding: 0.25em 0.5em; text-align: left; vertical-align: top; }
td:nth-child(8) { overflow-wrap: anywhere; }
td:nth-child(9) { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
tr { break-inside: avoid; }
thead { display: table-header-group; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1em; font-size: 9pt; }
dd { margin: 0; }
tr.DENY td:nth-child(2) { background: #f6d5d5; }
tr.HOLD td:nth-child(2) { background: #f8ebc8; }
tr.ALLOW td:nth-child(2), tr.ALLOW_WITH_OBLIGATIONS td:nth-child(2) { background: #d9efdb; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  body { margin: 0; max-width: none; font-size: 8pt; }
  section { break-before: page; }
  tr td:nth-child(2) { print-color-adjust: exact; }
}
</style>
";
