//! One set of rules and of questions for every engine: permits and refusals over regime, flow, destination and predicates.

use std::collections::{BTreeMap, BTreeSet};

use verdict::Rulebook;
use verdict::cell::CellKey;
use verdict::decision::{Flow, Text};
use verdict::question::Profile;
use verdict::rule::{
    Basis, Book, Kind, Limits, Mark, Mode, Out, Regime, Row, RuleText, Vocabulary,
};

/// A rule as every engine is given it.
pub struct Rule {
    pub id: String,
    pub permits: bool,
    /// `*` for any.
    pub regime: String,
    pub flow: String,
    pub to: String,
    /// Predicates, `!` before one that must not hold.
    pub when: Vec<String>,
}

/// One cell: what is asked, and every predicate that holds.
pub struct Question {
    pub regime: String,
    pub flow: Flow,
    pub to: String,
    pub holds: BTreeSet<String>,
}

/// A few numbers that look random and are the same in each run (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn of<'a>(&mut self, list: &'a [String]) -> &'a str {
        &list[self.below(list.len())]
    }
}

/// The words that rules and questions are made of.
pub struct Words {
    regimes: Vec<String>,
    places: Vec<String>,
    categories: Vec<String>,
    sectors: Vec<String>,
}

impl Words {
    pub fn new() -> Self {
        let numbered =
            |stem: &str, count: usize| (0..count).map(|n| format!("{stem}{n:02}")).collect();
        let places = "KR US DE FR JP CN IN GB SG BR CA AU ZA AE IL NO CH SE NL IT ES PL FI IE";
        Self {
            regimes: numbered("LAW", REGIMES),
            places: places.split(' ').map(str::to_owned).collect(),
            categories: numbered("pd:C", 40),
            sectors: numbered("sector", 20),
        }
    }

    /// `count` rules: each names a regime, a flow, a place and two predicates; one in sixteen refuses in every regime and
    /// flow, as orders and the like do.
    pub fn rules(&self, count: usize) -> Vec<Rule> {
        let mut chance = Chance(count as u64);
        let mut rules = Vec::new();
        for number in 0..count {
            let everywhere = number % 16 == 7;
            let permits = !everywhere && chance.below(3) > 0;
            let (regime, flow) = (chance.of(&self.regimes).to_owned(), Flow::ALL[chance.below(8)]);
            let first = format!("cat:{}", chance.of(&self.categories));
            let second = match chance.below(4) {
                0 => "!purpose.recurring".to_owned(),
                1 => "component.encrypted".to_owned(),
                2 => format!("!subject.sector:{}", chance.of(&self.sectors)),
                _ => format!("subject.sector:{}", chance.of(&self.sectors)),
            };
            rules.push(Rule {
                id: format!("R{number:05}"),
                permits,
                regime: if everywhere { "*".into() } else { regime },
                flow: if everywhere { "*".into() } else { flow.name().into() },
                to: chance.of(&self.places).to_owned(),
                when: vec![first, second],
            });
        }
        rules
    }

    /// Questions of which half are aimed at a rule, so that a good part is allowed.
    pub fn questions(&self, rules: &[Rule], count: usize) -> Vec<Question> {
        let mut chance = Chance(7 + rules.len() as u64);
        let mut questions = Vec::new();
        for number in 0..count {
            let mut holds = BTreeSet::new();
            for _ in 0..3 {
                holds.insert(format!("cat:{}", chance.of(&self.categories)));
            }
            holds.insert(format!("subject.sector:{}", chance.of(&self.sectors)));
            for flag in ["purpose.recurring", "component.encrypted"] {
                if chance.below(2) == 0 {
                    holds.insert(flag.to_owned());
                }
            }
            let aim = &rules[chance.below(rules.len())];
            let (mut regime, mut flow) =
                (chance.of(&self.regimes).to_owned(), Flow::ALL[chance.below(8)]);
            let mut to = chance.of(&self.places).to_owned();
            if number % 2 == 0 {
                if aim.regime != "*" {
                    regime.clone_from(&aim.regime);
                }
                flow = Flow::ALL.into_iter().find(|it| it.name() == aim.flow).unwrap_or(flow);
                to.clone_from(&aim.to);
                for word in &aim.when {
                    match word.strip_prefix('!') {
                        Some(word) => _ = holds.remove(word),
                        None => _ = holds.insert(word.clone()),
                    }
                }
            }
            holds.insert(format!("to:{to}"));
            questions.push(Question { regime, flow, to, holds });
        }
        questions
    }

    /// The rules as our rulebook.
    pub fn rulebook(&self, rules: &[Rule]) -> Rulebook {
        let regime = |id: &String| Regime {
            id: id.clone(),
            mode: Mode::Transfer,
            territory: Some("KP".into()),
            requires: None,
        };
        let book = Book {
            name: "bench".into(),
            version: "1".into(),
            reviewed_on: None,
            missing_rule: None,
            regimes: self.regimes.iter().map(regime).collect(),
            groups: Vec::new(),
            rules: rules.iter().map(text).collect(),
            rows: rules.iter().map(row).collect(),
            vocabulary: Vocabulary {
                categories: self.categories.clone(),
                sectors: self.sectors.clone(),
                broader: BTreeMap::new(),
                ..Vocabulary::default()
            },
            limits: Limits::default(),
        };
        Rulebook::new(book).expect("a rulebook")
    }
}

fn text(rule: &Rule) -> RuleText {
    RuleText {
        id: rule.id.clone(),
        basis: vec![Basis::House],
        text: Text { en: "A rule.".into(), ko: "규칙.".into() },
        citation: "-".into(),
        mark: Mark::V,
        from: None,
        until: None,
        reviewed_on: None,
        persons: None,
    }
}

fn row(rule: &Rule) -> Row {
    Row {
        rule: rule.id.clone(),
        number: 1,
        kind: if rule.permits { Kind::Permit } else { Kind::Restrict },
        out: if rule.permits { Out::Allow } else { Out::Deny },
        regime: rule.regime.clone(),
        flow: rule.flow.clone(),
        to: rule.to.clone(),
        when: rule.when.clone(),
        obligations: Vec::new(),
        profiles: vec![Profile::Statutory],
    }
}

impl Question {
    /// The cell as our engines are asked about it.
    pub fn key(&self, rulebook: &Rulebook) -> CellKey {
        let profile = Profile::Statutory;
        let symbols = rulebook.symbols(profile, &self.regime, self.flow).iter().copied();
        let holds = |symbol: &u16| {
            rulebook.atom(*symbol).is_some_and(|atom| self.holds.contains(&atom.to_string()))
        };
        CellKey {
            profile,
            regime: self.regime.clone(),
            flow: self.flow,
            holds: symbols.filter(holds).collect(),
            unknown: Vec::new(),
        }
    }
}

const REGIMES: usize = 12;
