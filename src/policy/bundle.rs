//! A bundle: a directory of rules as data becomes something to judge with, or a list of what is wrong with it.
//!
//! Our own reading comes first and is strict; casbin sees only what passed it. A bundle that is usable ([`Bundle::load`])
//! has also passed every case of its packs and its canaries.
//!
//! *Invariant:* immutable once made; nothing of it is read from disk again.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use verdict::Rulebook;
use verdict::cell::{CellKey, Disagreement, Matches};
use verdict::decision::{Decision, Why};
use verdict::facts::{Facts, Judgement};
use verdict::question::Question;
use verdict::rule::RuleText;

use super::access::{Access, Acting, Asker, ChangeError, Leave};
use super::build::{self, Parts};
use super::canary::KeptCanaries;
use super::cases::{AccessCase, Case, CaseResult, Retired};
use super::fault::{BundleError, Fault};
use super::folder::Folder;
use super::memo::{self, Judged, Judgements, Memo, MemoCounts, TwoEngines};
use super::rulebook::Engines;
use crate::registry::access::OwnAccess;

/// A bundle in memory.
#[derive(Debug)]
pub struct Bundle {
    rulebook: Rulebook,
    content_digest: String,
    texts: Vec<u8>,
    access: Arc<Access>,
    access_digest: String,
    engines: Engines,
    memo: Memo,
    judged: Judgements,
    cases: Vec<Case>,
    access_cases: Vec<AccessCase>,
    retired: Vec<Retired>,
    notices: Vec<String>,
    warnings: Vec<String>,
}

impl Bundle {
    /// Reads a bundle strictly and builds its engines, without running its cases: for `policy test`, which lists them.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with file and line.
    pub async fn read(dir: &Path, at_unix_s: i64) -> Result<Self, BundleError> {
        let dir = dir.to_owned();
        let folder = tokio::task::spawn_blocking(move || Folder::read(&dir))
            .await
            .unwrap_or_else(|error| Err(whole(format!("reading stopped: {error}"))))
            .map_err(|fault| BundleError { faults: vec![fault] })?;
        Self::of(&folder, at_unix_s).await
    }

    /// The same from files that were read already.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub async fn of(folder: &Folder, at_unix_s: i64) -> Result<Self, BundleError> {
        let Parts { rulebook, sheets, cases, access_cases, retired, notices, warnings } =
            build::parts(folder, at_unix_s)?;
        let broken = |error: String| BundleError { faults: vec![whole(error)] };
        let texts = verdict::canonical(&rulebook).map_err(|error| broken(error.to_string()))?;
        let access_bytes =
            verdict::canonical(&sheets.canonical()).map_err(|error| broken(error.to_string()))?;
        let model = folder.text(RESIDENCY, &mut Vec::new());
        let engines =
            Engines::new(model, &rulebook).await.map_err(|error| broken(error.to_string()))?;
        let model = folder.text(ACCESS, &mut Vec::new());
        let access =
            Access::new(&sheets, model).await.map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            content_digest: folder.digest(),
            texts,
            access: Arc::new(access),
            access_digest: verdict::digest(&access_bytes),
            engines,
            memo: Memo::new(),
            judged: Judgements::new(),
            cases,
            access_cases,
            retired,
            notices,
            warnings,
            rulebook,
        })
    }

    /// Reads a bundle and runs every case and canary: what it returns may be used.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with file and line; a case that fails is one of them.
    pub async fn load(dir: &Path, at_unix_s: i64) -> Result<Self, BundleError> {
        Self::read(dir, at_unix_s).await?.tried()
    }

    /// The bundle, if every case and canary of it passes. Takes a second of a core or so: not for an async worker that
    /// serves.
    ///
    /// # Errors
    /// The cases that fail, each with file and line.
    pub fn tried(self) -> Result<Self, BundleError> {
        let bundle = self;
        let failed: Vec<Fault> = bundle
            .test()
            .into_iter()
            .filter_map(|result| {
                let failure = result.failure?;
                Some(Fault {
                    file: if result.pack == CANARY {
                        "canary.toml".into()
                    } else {
                        format!("packs/{}/cases.toml", result.pack)
                    },
                    line: result.line,
                    found: format!("case `{}` fails: {failure}", result.name),
                    meant: None,
                    mend: "mend the rule or the case: a bundle is used only when all pass".into(),
                })
            })
            .collect();
        if failed.is_empty() { Ok(bundle) } else { Err(BundleError { faults: failed }) }
    }

    /// Runs every case, canaries first, in the order in which they stand.
    #[must_use]
    pub fn test(&self) -> Vec<CaseResult> {
        self.judge_cases(&self.access_cases, self.cases.iter())
    }

    /// What becomes of the canaries of the bundle that this one shall replace.
    #[must_use]
    pub fn keeps(&self, before: &Self) -> KeptCanaries {
        let canaries = before.cases.iter().filter(|case| case.pack == CANARY);
        KeptCanaries::new(self.judge_cases(&before.access_cases, canaries), &self.retired)
    }

    fn judge_cases<'a>(
        &self,
        access: &'a [AccessCase],
        cases: impl Iterator<Item = &'a Case>,
    ) -> Vec<CaseResult> {
        let access = access.iter().map(|case| {
            let roles: Vec<Arc<str>> = case.roles.iter().map(|role| role.as_str().into()).collect();
            case.compare(&self.access(&case.org, &roles, &case.service, &case.operation))
        });
        let cases = cases.map(|case| match self.decide(&case.question) {
            Ok(decision) => case.compare(&decision),
            Err(problem) => case.not_judged(&problem),
        });
        access.chain(cases).collect()
    }

    /// `sha256:` and hex over all its files ([`Folder::digest`]): what is stored, approved and activated under that name.
    #[must_use]
    pub fn content_digest(&self) -> &str {
        &self.content_digest
    }

    /// `sha256:` and hex over the canonical rulebook: independent of the order of rows, of spacing and of comments.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.rulebook.digest()
    }

    /// The same over the access sheets.
    #[must_use]
    pub fn access_digest(&self) -> &str {
        &self.access_digest
    }

    /// Name and version, as its bundle.toml says.
    #[must_use]
    pub fn title(&self) -> String {
        let book = self.rulebook.book();
        format!("{} {}", book.name, book.version)
    }

    /// Canonical bytes of the rulebook, kept by audit as the record's `bundle` text: what the offline verifier judges with.
    #[must_use]
    pub fn texts(&self) -> &[u8] {
        &self.texts
    }

    #[must_use]
    pub const fn rules(&self) -> &Rulebook {
        &self.rulebook
    }

    /// What a reader should know: name, packs, review, how sure the texts are.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What somebody should look after: old reviews, closed rules, regimes without a pack.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    #[must_use]
    pub fn memo(&self) -> MemoCounts {
        self.memo.counts(self.judged.kept())
    }

    /// Judges all candidate sites of one request. Pure but for the memo of cells. Measured with 21 rows and 6 cells on two
    /// busy cores: 145 us when all cells are in the memo (matching is below 1 us a cell; the rest is composing and
    /// digests), and 75 to 200 us more for each cell that is not. All of it is fit for an async worker.
    #[must_use]
    pub fn judge(&self, facts: &Facts, at_unix_s: i64) -> Judgement {
        verdict::judge_with(&self.rulebook, facts, at_unix_s, &mut self.two_engines())
    }

    /// The same for facts that the caller has a digest of (SHA-256 of their canonical bytes): judged once, then known until
    /// the first instant at which a dated fact of any candidate changes. One lookup when known.
    #[must_use]
    pub fn judge_known(&self, digest: [u8; 32], facts: &Facts, at_unix_s: i64) -> Arc<Judgement> {
        let known = self.judged.get(&digest).filter(|known| known.holds_at(at_unix_s));
        if let Some(known) = known.filter(|_| self.memo.is_on()) {
            return known.judgement;
        }
        let judged = Judged::new(self.judge(facts, at_unix_s), at_unix_s);
        let judgement = Arc::clone(&judged.judgement);
        // a disagreement of the engines is asked again, so that it is counted each time
        if judged.is_sound() {
            self.judged.keep(digest, judged);
        }
        judgement
    }

    /// The same past every memo and without casbin: what a judgement is held against that a memo had a part in.
    #[must_use]
    pub fn judge_anew(&self, facts: &Facts, at_unix_s: i64) -> Judgement {
        verdict::judge(&self.rulebook, facts, at_unix_s)
    }

    /// From now on everything is judged anew: a memo of this bundle gave a wrong answer.
    pub fn turn_memo_off(&self) {
        self.memo.turn_off();
    }

    /// Makes every hit of the memo of cells a wrong answer: the seam by which a test shows that it is found out.
    #[doc(hidden)]
    pub fn poison_memo(&self) {
        self.memo.poison();
    }

    /// Judges one question at its own `at`.
    ///
    /// # Errors
    /// One sentence when the question cannot be judged: no `at`, or a word outside the vocabulary.
    pub fn decide(&self, question: &Question) -> Result<Decision, String> {
        verdict::decide_with(&self.rulebook, question, &mut self.two_engines())
            .map_err(|error| error.to_string())
    }

    /// May these roles of this organisation do `operation` on `service`, by the bundle alone?
    ///
    /// # Errors
    /// As [`Bundle::may`].
    #[expect(clippy::result_large_err, reason = "a refusal is rare and is rendered whole")]
    pub fn access(
        &self,
        org: &str,
        roles: &[Arc<str>],
        service: &str,
        operation: &str,
    ) -> Result<(), Why> {
        self.may(&Asker { org, roles, actor: None, own: None }, service, operation)
    }

    /// May this caller do `operation` on `service`? About 0.2 us when asked before.
    ///
    /// # Errors
    /// `ACCESS_DENIED` with the row that refuses, if one does; `ENGINE_ERROR` when the engine fails, or is not built for
    /// these entries of the organisation ([`Bundle::build_access`]).
    #[expect(clippy::result_large_err, reason = "a refusal is rare and is rendered whole")]
    pub fn may(&self, asker: &Asker<'_>, service: &str, operation: &str) -> Result<(), Why> {
        self.access.ask(asker, service, operation)
    }

    /// The rows and roles by which [`Bundle::may`] answers, so that a record can be judged again. `None` when they could not
    /// be asked.
    #[must_use]
    pub fn access_about(
        &self,
        asker: &Asker<'_>,
        service: &str,
        operation: &str,
    ) -> Option<verdict::access::Access> {
        self.access.about(asker, service, operation)
    }

    /// Which access rows an organisation is judged with: SHA-256 over the digest of this bundle's sheets (as
    /// [`Bundle::access_digest`] writes it) and, where the organisation granted itself something, the digest of what may
    /// be told of all that.
    #[must_use]
    pub fn access_snapshot(&self, own: Option<&OwnAccess>) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(&self.access_digest);
        if let Some(own) = own {
            hash.update(own.told());
        }
        hash.finalize().into()
    }

    /// Whether [`Bundle::may`] can be asked with these entries.
    #[must_use]
    pub fn has_access(&self, own: &OwnAccess) -> bool {
        self.access.is_built(own)
    }

    /// Builds the engine of an organisation's entries, off the async workers: some milliseconds, one at a time.
    pub async fn build_access(&self, own: &OwnAccess) {
        Access::build(&self.access, own).await;
    }

    /// Whether the entries of an organisation may become `after`.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check_access_change(
        &self,
        before: &OwnAccess,
        after: &OwnAccess,
        acting: Acting<'_>,
        force: bool,
    ) -> Result<(), ChangeError> {
        self.access.check_change(before, after, acting, force)
    }

    /// Whether this caller may, by which rows, and who could give it.
    #[must_use]
    pub fn explain_access(&self, asker: &Asker<'_>, service: &str, operation: &str) -> Leave {
        self.access.explain(asker, service, operation)
    }

    /// The text of a rule, for the console and the command line.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&RuleText> {
        self.rulebook.rule(id)
    }

    /// Asks both engines about one cell, past the memo.
    ///
    /// # Errors
    /// When they differ or casbin fails.
    pub fn match_cell(&self, key: &CellKey) -> Result<Matches, Disagreement> {
        memo::compare(&self.engines, &self.rulebook, key)
    }

    fn two_engines(&self) -> TwoEngines<'_> {
        TwoEngines { engines: &self.engines, memo: &self.memo }
    }
}

fn whole(found: String) -> Fault {
    Fault {
        file: "bundle".into(),
        line: 0,
        found,
        meant: None,
        mend: "run `haetae policy check` on the directory".into(),
    }
}

pub(crate) const RESIDENCY: &str = "model/residency.conf";
pub(crate) const ACCESS: &str = "model/access.conf";
/// The pack name of cases that belong to the bundle itself.
pub(crate) const CANARY: &str = "canary";
