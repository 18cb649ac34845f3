//! The canaries of a bundle are kept by the one that replaces it: each still passes, or the new one retires it by name and says
//! why, in its own `canary.toml`, which approvers sign with all else.

use super::cases::{CaseResult, Retired};
use super::fault::{BundleError, Fault};

/// What becomes of the canaries of the bundle that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCanaries {
    /// How many still pass.
    pub passed: usize,
    /// Those that do not pass and need not, with why.
    pub retired: Vec<Retired>,
    /// Those that do not pass and should.
    failed: Vec<Fault>,
}

impl KeptCanaries {
    pub(super) fn new(results: Vec<CaseResult>, may_go: &[Retired]) -> Self {
        let mut kept = Self { passed: 0, retired: Vec::new(), failed: Vec::new() };
        for result in results {
            let Some(failure) = result.failure else {
                kept.passed += 1;
                continue;
            };
            match may_go.iter().find(|one| one.canary == result.name) {
                Some(one) => kept.retired.push(one.clone()),
                None => kept.failed.push(fault(&result.name, result.line, &failure)),
            }
        }
        kept
    }

    /// # Errors
    /// Those canaries that do not pass and are not retired.
    pub fn whole(self) -> Result<Self, BundleError> {
        if self.failed.is_empty() { Ok(self) } else { Err(BundleError { faults: self.failed }) }
    }

    /// `name: why` of each that goes, for people and for the record.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        self.retired.iter().map(|one| format!("{}: {}", one.canary, one.why)).collect()
    }
}

fn fault(name: &str, line: usize, failure: &str) -> Fault {
    Fault {
        file: "canary.toml of the bundle in force".into(),
        line,
        found: format!("canary `{name}` does not pass: {failure}"),
        meant: None,
        mend: "mend the rules; or write `[[retired]]` with `canary` and `why` into the new canary.toml".into(),
    }
}
