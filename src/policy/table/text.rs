//! A table as plain text, and the words that its other forms share.

use std::fmt::Write as _;

use verdict::decision::Outcome;
use verdict::rule::{Mark, Mode, RuleText};
use verdict::stamp::Stamp;

use super::{NO_REGIME, Page, Table};
use crate::policy::rulebook::word;

impl Table<'_> {
    /// The whole table as plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.head() {
            let _ = writeln!(text, "{line}");
        }
        for page in &self.pages {
            self.page_text(page, &mut text);
        }
        let _ = writeln!(text, "\n== the rules");
        for rule in &self.rulebook().book().rules {
            for line in rule_lines(rule) {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }

    /// What the table is and how it is read.
    pub(super) fn head(&self) -> Vec<String> {
        let book = self.rulebook().book();
        let mut head = vec![
            format!("Policy table of {} {}", book.name, book.version),
            format!("bundle {}", self.rulebook().digest()),
            format!("as of {}", self.interval()),
        ];
        head.extend(READING.iter().map(|line| (*line).to_owned()));
        head
    }

    fn interval(&self) -> String {
        let day = |at: Option<i64>| {
            at.and_then(|at| Stamp::at(at).ok()).map_or_else(|| "-".to_owned(), |it| it.to_string())
        };
        format!(
            "any instant from {} to before {}: in between nothing dated in the rules turns",
            day(self.from),
            day(self.until)
        )
    }

    /// What the page is about.
    pub(super) fn title(&self, page: &Page) -> String {
        let mode = self.rulebook().regime(&page.regime).map(|regime| regime.mode);
        let said = match mode {
            Some(Mode::Transfer) => "every flow needs something that permits it",
            Some(Mode::Floor) => "what no rule refuses is allowed",
            None => "data under no regime: it must be declared non-personal",
        };
        let name = if page.regime == NO_REGIME { "no regime" } else { &page.regime };
        format!("{name}: {said}")
    }

    fn page_text(&self, page: &Page, text: &mut String) {
        let _ = writeln!(text, "\n== {}", self.title(page));
        let _ = writeln!(text, "{}", sums(page));
        for destination in &page.destinations {
            let _ = writeln!(text, "  to {}: {}", destination.label, places(&destination.places));
        }
        for (number, line) in page.lines.iter().enumerate() {
            let rule = line.rule.as_deref().unwrap_or("-");
            let _ = writeln!(
                text,
                "{:>4}  {} {rule} {}  {}",
                number + 1,
                word(&line.outcome),
                line.code.code(),
                line.scope.words(&page.destinations),
            );
            let _ = writeln!(text, "      {}", line.when);
            if !line.obligations.is_empty() {
                let _ = writeln!(text, "      obligations: {}", line.obligations.join(", "));
            }
            let _ = writeln!(text, "      decides {}", count(line.combinations));
        }
        if !page.idle.is_empty() {
            let _ = writeln!(text, "  cannot match at this time: {}", page.idle.join(", "));
        }
    }
}

/// How many combinations have which outcome.
pub(super) fn sums(page: &Page) -> String {
    let sums = Table::sums(page);
    let sums = [Outcome::Deny, Outcome::Hold, Outcome::AllowWithObligations, Outcome::Allow]
        .into_iter()
        .filter_map(|outcome| Some(format!("{} {}", word(&outcome), count(*sums.get(&outcome)?))));
    format!("combinations: {}", sums.collect::<Vec<_>>().join("; "))
}

/// A number with its thousands set apart.
pub(crate) fn count(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number == u128::MAX { format!("at least {text}") } else { text }
}

pub(crate) fn places(places: &[String]) -> String {
    if places.is_empty() { "every place that is not named".to_owned() } else { places.join(" ") }
}

/// A rule with what it rests on.
pub(super) fn rule_lines(rule: &RuleText) -> Vec<String> {
    let unverified = if rule.mark == Mark::V { "" } else { " (unverified)" };
    let basis: Vec<String> = rule.basis.iter().map(word).collect();
    let since = rule.from.as_ref().map(|from| format!("; in force from {from}"));
    let until = rule.until.as_ref().map(|until| format!("; until {until}"));
    let reviewed = rule.reviewed_on.as_ref().map(|on| format!("; reviewed on {on}"));
    vec![
        format!("{} {}", rule.id, rule.text.en),
        format!("     {}", rule.text.ko),
        format!(
            "     {}: {}{unverified}{}{}{}",
            basis.join(", "),
            rule.citation,
            since.unwrap_or_default(),
            until.unwrap_or_default(),
            reviewed.unwrap_or_default(),
        ),
    ]
}

pub(super) const READING: [&str; 9] = [
    "Reference material, unreviewed by counsel: a line says what a rule gives, not whether it is lawful.",
    "Each page is one regime. A cell is one piece of data under one regime in one flow to one destination; over the cells of a",
    "request the worst outcome wins. Read a page from the top: the first line that names the cell's profile, flow and",
    "destination and whose condition is so decides. Every combination of what the predicates can be is decided by exactly one",
    "line; how many it decides stands below it. crates/verdict/src/atom.rs says when each predicate is true.",
    "`x?` also fits when nobody can tell whether x; what nobody can tell never helps. Before any line: a cell of which the dataset,",
    "the place or the recipient is not known is refused (MISSING_FACT), and so is a request without a profile, a site or a",
    "recipient, or whose facts contradict each other (CONTRADICTION). A hold can be released by those who may; then the line",
    "does not count. Of the lines that ask for obligations all that fit add theirs. Home, places of a group and dates are as of the instants above.",
];
