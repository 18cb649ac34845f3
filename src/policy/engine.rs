//! casbin as we use it: a model and rows in, every matching row out.
//!
//! casbin's own vote is ignored. With a column `eft` a matched `hold` would arrive as indeterminate and vanish; so rows
//! carry their outcome in a column `out`, and [`Collect`] returns all rows that match, for the caller to combine.
//!
//! *Invariant:* an engine is immutable and has a role graph of its own; nothing here caches a vote.

use casbin::function_map::OperatorFunction;
use casbin::{
    CoreApi, DefaultModel, EffectKind, Effector, EffectorStream, Enforcer, Model, NullAdapter,
};

/// A casbin error, kept as text: its cases are of no use to a caller, who refuses whichever it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy engine failed: {0}")]
pub struct EngineError(String);

impl From<casbin::Error> for EngineError {
    fn from(error: casbin::Error) -> Self {
        Self(error.to_string())
    }
}

/// An immutable set of rows under one model.
pub(crate) struct Engine(Enforcer);

impl std::fmt::Debug for Engine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Builds an engine of exactly these rows (`p`) and links (`g`: member, group, domain).
    /// Async only because casbin's constructors are; it never waits.
    pub(crate) async fn new(
        model: &str,
        rows: Vec<Vec<String>>,
        links: Vec<Vec<String>>,
        functions: &[(&str, OperatorFunction)],
    ) -> Result<Self, EngineError> {
        if rows.is_empty() {
            return Err(EngineError("it was given no rows, and an empty policy can allow".into()));
        }
        let mut model = DefaultModel::from_str(model).await?;
        let (row_count, link_count) = (rows.len(), links.len());
        model.add_policies("p", "p", rows);
        model.add_policies("g", "g", links);
        let kept = |section: &str| {
            let assertions = model.get_model().get(section)?.get(section)?;
            Some(assertions.get_policy().len())
        };
        if kept("p") != Some(row_count) || kept("g").unwrap_or(0) != link_count {
            return Err(EngineError("it dropped rows: a row or link is there twice".into()));
        }
        let mut enforcer = Enforcer::new_raw(model, NullAdapter).await?;
        for (name, function) in functions {
            enforcer.add_function(name, *function);
        }
        enforcer.set_effector(Box::new(Collect));
        enforcer.build_role_links()?;
        Ok(Self(enforcer))
    }

    /// Every row that matches, in the order given to [`Engine::new`], cells in the order of the model.
    pub(crate) fn matching(&self, request: Vec<String>) -> Result<Vec<Vec<String>>, EngineError> {
        Ok(self.0.enforce_ex(request)?.1)
    }
}

/// Votes for nothing and stops at nothing: remembers the index of every row that matched.
struct Collect;

impl Effector for Collect {
    fn new_stream(&self, _expression: &str, _rows: usize) -> Box<dyn EffectorStream> {
        Box::new(Collected { at: 0, matched: Vec::new() })
    }
}

struct Collected {
    at: usize,
    matched: Vec<usize>,
}

impl EffectorStream for Collected {
    fn next(&self) -> bool {
        !self.matched.is_empty()
    }

    fn explain(&self) -> Option<Vec<usize>> {
        Some(self.matched.clone())
    }

    fn push_effect(&mut self, effect: EffectKind) -> bool {
        if effect == EffectKind::Allow {
            self.matched.push(self.at);
        }
        self.at += 1;
        false
    }
}
