//! The others, each with the same rules in its own language: casbin alone, Cedar, Rego.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::str::FromStr;

use casbin::function_map::{OperatorFunction, dynamic_to_str};
use casbin::{CoreApi, DefaultModel, Enforcer, Model, NullAdapter};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};

use crate::rules::{Question, Rule};

/// casbin as its manual shows it: one enforcer, all rules, cheap tests first, deny overrides.
pub struct Casbin(Enforcer);

impl Casbin {
    pub async fn new(rules: &[Rule]) -> Self {
        let mut model = DefaultModel::from_str(CASBIN_MODEL).await.expect("a model");
        let row = |rule: &Rule| {
            let effect = if rule.permits { "allow" } else { "deny" };
            let when = rule.when.join(" ");
            vec![rule.regime.clone(), rule.flow.clone(), rule.to.clone(), when, effect.into()]
        };
        // casbin refuses the same row twice; twice the same rule is one rule
        let rows: std::collections::BTreeSet<Vec<String>> = rules.iter().map(row).collect();
        assert!(model.add_policies("p", "p", rows.into_iter().collect()), "rows were dropped");
        let mut enforcer = Enforcer::new_raw(model, NullAdapter).await.expect("an enforcer");
        enforcer.add_function("when", OperatorFunction::Arg2(when));
        Self(enforcer)
    }

    pub fn question(question: &Question) -> Vec<String> {
        let holds: Vec<&str> = question.holds.iter().map(String::as_str).collect();
        vec![
            question.regime.clone(),
            question.flow.name().to_owned(),
            question.to.clone(),
            holds.join(" "),
        ]
    }

    pub fn allows(&self, question: &[String]) -> bool {
        self.0.enforce(question.to_vec()).expect("an answer")
    }
}

fn when(holds: casbin::rhai::Dynamic, conditions: casbin::rhai::Dynamic) -> casbin::rhai::Dynamic {
    let (holds, conditions) = (dynamic_to_str(&holds), dynamic_to_str(&conditions));
    let has = |word: &str| holds.split(' ').any(|known| known == word);
    let fulfilled = |condition: &str| match condition.strip_prefix('!') {
        Some(word) => !has(word),
        None => has(condition),
    };
    conditions.split(' ').all(fulfilled).into()
}

/// Cedar: one policy for each rule, predicates as a set in the context.
pub struct Cedar {
    policies: PolicySet,
    entities: Entities,
    authorizer: Authorizer,
}

impl Cedar {
    pub fn new(rules: &[Rule]) -> Self {
        let mut text = String::new();
        for rule in rules {
            let effect = if rule.permits { "permit" } else { "forbid" };
            // what Cedar indexes by stands in the head: the regime as principal, the flow as action, the place as resource
            let head = |name: &str, kind: &str, word: &str| match word {
                "*" => name.to_owned(),
                word => format!("{name} == {kind}::\"{word}\""),
            };
            let _ = write!(
                text,
                "{effect} ({}, {}, {}) when {{ {} }};\n",
                head("principal", "Regime", &rule.regime),
                head("action", "Action", &rule.flow),
                head("resource", "Place", &rule.to),
                conditions(rule, |word| format!("context.holds.contains(\"{word}\")"), " && ", "!"),
            );
        }
        Self {
            policies: PolicySet::from_str(&text).expect("policies"),
            entities: Entities::empty(),
            authorizer: Authorizer::new(),
        }
    }

    pub fn question(question: &Question) -> Request {
        let uid = |kind: &str, id: &str| {
            EntityUid::from_str(&format!("{kind}::\"{id}\"")).expect("an entity")
        };
        let holds = question.holds.iter().map(|it| RestrictedExpression::new_string(it.clone()));
        let holds = RestrictedExpression::new_set(holds);
        Request::new(
            uid("Regime", &question.regime),
            uid("Action", question.flow.name()),
            uid("Place", &question.to),
            Context::from_pairs([("holds".to_owned(), holds)]).expect("a context"),
            None,
        )
        .expect("a request")
    }

    pub fn allows(&self, question: &Request) -> bool {
        let answer = self.authorizer.is_authorized(question, &self.policies, &self.entities);
        assert!(answer.diagnostics().errors().next().is_none(), "cedar reports an error");
        answer.decision() == Decision::Allow
    }
}

/// Rego, compiled once: one rule body for each rule.
pub struct Rego(regorus::CompiledPolicy);

impl Rego {
    pub fn new(rules: &[Rule]) -> Self {
        let mut engine = regorus::Engine::new();
        engine.add_policy("bench.rego".into(), REGO_HEAD.into()).expect("a policy");
        // a file may have a megabyte: the rules of one package may stand in several
        for (number, rules) in rules.chunks(REGO_RULES_A_FILE).enumerate() {
            let mut text = String::from("package bench\nimport rego.v1\n");
            rules.iter().for_each(|rule| rego_rule(rule, &mut text));
            engine.add_policy(format!("rules-{number}.rego"), text).expect("a policy");
        }
        Self(engine.compile_with_entrypoint(&"data.bench.allow".into()).expect("compiles"))
    }

    pub fn question(question: &Question) -> regorus::Value {
        let holds: BTreeMap<&String, bool> = question.holds.iter().map(|it| (it, true)).collect();
        let input = serde_json::json!({
            "regime": question.regime, "flow": question.flow.name(), "to": question.to, "holds": holds,
        });
        regorus::Value::from_json_str(&input.to_string()).expect("a value")
    }

    pub fn allows(&self, question: &regorus::Value) -> bool {
        let answer = self.0.eval_with_input(question.clone()).expect("an answer");
        answer == regorus::Value::from(true)
    }
}

fn rego_rule(rule: &Rule, text: &mut String) {
    let name = if rule.permits { "permitted" } else { "refused" };
    let _ = writeln!(text, "{name} if {{");
    let heads = [("regime", &rule.regime), ("flow", &rule.flow), ("to", &rule.to)];
    for (key, word) in heads.iter().filter(|(_, word)| *word != "*") {
        let _ = writeln!(text, "  input.{key} == \"{word}\"");
    }
    let body = conditions(rule, |word| format!("input.holds[\"{word}\"]"), "\n  ", "not ");
    let _ = writeln!(text, "  {body}\n}}");
}

fn conditions(rule: &Rule, word: impl Fn(&str) -> String, join: &str, not: &str) -> String {
    let written = rule.when.iter().map(|condition| match condition.strip_prefix('!') {
        Some(negated) => format!("{not}{}", word(negated)),
        None => word(condition),
    });
    // one condition twice is one condition
    let mut seen = HashSet::new();
    written.filter(|it| seen.insert(it.clone())).collect::<Vec<_>>().join(join)
}

const REGO_RULES_A_FILE: usize = 2_000;
const REGO_HEAD: &str = "package bench
import rego.v1
default allow := false
allow if {
  permitted
  not refused
}
";
const CASBIN_MODEL: &str = "
[request_definition]
r = regime, flow, to, holds

[policy_definition]
p = regime, flow, to, when, eft

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = (p.regime == \"*\" || p.regime == r.regime) && (p.flow == \"*\" || p.flow == r.flow) && p.to == r.to && when(r.holds, p.when)
";
